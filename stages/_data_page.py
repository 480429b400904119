"""The data report's page, a Jinja template; `_data_report` fills it."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Callwright: the data</title>
<style>
:root { --ink: #1f2430; --quiet: #6b7280; --line: #e6e8ee; --blue: #2f6fde; --paper: #fff; --back: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.2rem 5rem; max-width: 62rem; color: var(--ink); background: var(--back);
  font: 15px/1.55 system-ui, "Noto Sans TC", "PingFang TC", "Microsoft JhengHei", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.2rem; margin: 2.6rem 0 .8rem; }
p, small { color: var(--quiet); } code, pre { font: 13px/1.5 ui-monospace, "Noto Sans Mono CJK TC", monospace; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.tile { background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.tile span { color: var(--quiet); font-size: .85rem; }
figure { margin: 0 0 1rem; background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem; }
img { width: 100%; height: auto; display: block; }
figcaption { color: var(--quiet); font-size: .85rem; padding-top: .4rem; }
table { border-collapse: collapse; width: 100%; background: var(--paper); border: 1px solid var(--line); }
th, td { text-align: left; padding: .45rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
details { background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; padding: .6rem .9rem; margin: .5rem 0; }
summary { cursor: pointer; } pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .4rem 0; }
.row { background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; margin: .8rem 0; }
.row header { color: var(--quiet); font-size: .85rem; margin-bottom: .5rem; overflow-wrap: anywhere; }
.turn { display: grid; grid-template-columns: 4.5rem 1fr; gap: .6rem; padding: .15rem 0; }
.turn span { color: var(--quiet); font-size: .85rem; } .turn div { white-space: pre-wrap; overflow-wrap: anywhere; }
.turn.call div, .turn.result div { font: 13px/1.5 ui-monospace, "Noto Sans Mono CJK TC", monospace; }
.turn.call div { color: var(--blue); } .turn.system div { color: var(--quiet); }
</style>
</head>
<body>
<h1>The data</h1>
<p>What the validate stage accepted and rejected, and what the accepted training rows are like.</p>
<div class="tiles">
{% for name, value in [("rows judged", report.rows), ("accepted", report.accepted), ("rejected", report.rejected)] %}
<div class="tile"><b>{{ "{:,}".format(value) }}</b><span>{{ name }}</span></div>
{% endfor %}
{% for split, part in report.splits.items() %}
<div class="tile"><b>{{ "{:,}".format(part.rows) }}</b><span>{{ split }}{% if part.rows %}, {{ "{:.0%}".format(
  part.by_language.get("zh-TW", 0) / part.rows) }} zh-TW{% endif %}</span></div>
{% endfor %}
<div class="tile"><b>{{ report.splits.train.tools_called | length }}</b><span>tools called in training</span></div>
</div>

<h2>Categories, tools, lengths</h2>
<figure><img alt="Shares of the categories in each split" src="data:image/png;base64,{{ pictures.categories }}">
<figcaption>Share of each category. The exam (dev, test) has shares of its own.</figcaption></figure>
{% if report.splits.train.tools_called %}
<figure><img alt="How often each tool is called" src="data:image/png;base64,{{ pictures.tools }}">
<figcaption>How often each tool is called in training.</figcaption></figure>
{% endif %}
<figure><img alt="Lengths of requests and numbers of tools" src="data:image/png;base64,{{ pictures.lengths }}">
<figcaption>{{ "{:,}".format(described.rows) }} training rows, drawn.</figcaption></figure>

<h2>Diversity</h2>
<table>
<tr><th>of {{ "{:,}".format(described.rows) }} training rows</th>{% for lang in described.distinct %}<th class="n">{{ lang }}</th>{% endfor %}</tr>
{% for n in ["distinct_1", "distinct_2", "distinct_3"] %}
<tr><td>{{ n | replace("_", "-") }}</td>{% for lang, part in described.distinct.items() %}
<td class="n">{% if part[n] is not none %}{{ "{:.3f}".format(part[n]) }}{% endif %}</td>{% endfor %}</tr>
{% endfor %}
<tr><td>characters of a request (least, median, most)</td>{% for lang in described.distinct %}
<td class="n">{{ lengths[lang]["min"] }}, {{ lengths[lang]["median"] }}, {{ lengths[lang]["max"] }}</td>{% endfor %}</tr>
<tr><td>how requests begin, most often</td>{% for lang in described.distinct %}
<td class="n">{% for text, count in described.openings[lang] %}{{ text }} <small>{{ count }}</small><br>{% endfor %}</td>{% endfor %}</tr>
</table>
<p>distinct-n: the share of different n-grams among all; words in English, characters in zh-TW. Compare samples of one size.
{% if coverage[1] %}Of the packs' {{ "{:,}".format(coverage[1]) }} training phrasings {{ "{:,}".format(coverage[0]) }}
({{ "{:.0%}".format(coverage[0] / coverage[1]) }}) stand in rows. {% endif %}
{% if counted.tools_offered %}A row offers {{ counted.tools_offered["min"] }} to {{ counted.tools_offered["max"] }} tools,
has {{ counted.turns["min"] }} to {{ counted.turns["max"] }} turns and up to {{ counted.calls["max"] }} calls.{% endif %}</p>

<h2>Rejected rows</h2>
{% if report.codes %}
<figure><img alt="Rejected rows by code" src="data:image/png;base64,{{ pictures.rejects }}"></figure>
{% for code, found in rejects.items() %}
<details><summary><code>{{ code }}</code> {{ "{:,}".format(report.codes[code]) }}</summary>
{% for sentence, row in found %}<p>{{ sentence }}</p><pre>{{ row }}</pre>{% endfor %}
</details>
{% endfor %}
{% else %}<p>None.</p>{% endif %}
{% if warnings %}
<h2>Worth a look</h2>
<table><tr><th>warning</th><th class="n">rows</th><th>such as</th></tr>
{% for code, sentence in warnings.items() %}
<tr><td><code>{{ code }}</code></td><td class="n">{{ "{:,}".format(report.warnings[code]) }}</td><td>{{ sentence }}</td></tr>
{% endfor %}
</table>
{% endif %}

<h2>Rows to read</h2>
<p>{{ rows | length }} accepted training rows, drawn.</p>
{% for row in rows %}
<div class="row"><header><code>{{ row.id }}</code> · {{ row.category }} · {{ row.language }} · {{ row.tools | join(", ") }}</header>
{% for role, text in row.turns %}<div class="turn {{ role }}"><span>{{ role }}</span><div>{{ text }}</div></div>
{% endfor %}</div>
{% endfor %}
</body>
</html>
"""
