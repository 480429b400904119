"""The teacher: rows written by an LLM behind any OpenAI-compatible address. docs/teacher.md is its guide.

    plans   what each row is to be            prompts   how the teacher is asked for it
    client  one question, one answer          reading   an answer made into a row, or a reject with its code
    run     all of it, until the plan is done

It stands beside the pipeline: it costs money and is not reproducible, so its rows lie in data/sources/, where the
validate stage reads them like any other.
"""
