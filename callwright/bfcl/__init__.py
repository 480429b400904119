"""BFCL, the Berkeley Function-Calling Leaderboard: its single-turn Python categories, from bfcl-eval's own data.

    entries = read_entries(find_data(Path("bfcl_eval/data")), "simple_python")     reading
    verdict(entries[0], answer)              ->  Verdict(correct=True, …)          scoring
    result_text(answer)                      ->  '[math.factorial(number=5)]'      results

The data (Apache-2.0) is no part of this project: `pip download --no-deps bfcl-eval` brings it.
"""
