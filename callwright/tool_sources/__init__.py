"""Tools as others describe them, read into a pack skeleton: one file a source.

    tool_lists         OpenAI's tools JSON, an MCP tools/list result
    python_functions   type hints and docstrings, read and never run
    openapi            an OpenAPI 3.0 or 3.1 document
    mcp_server         a live MCP server, over stdio or streamable HTTP

Each yields items (`found`): tools, what it left out and why, what a person should know. `skeleton` makes the pack.
Whatever a source says is data: nothing of it is run, imported or fetched.
"""
