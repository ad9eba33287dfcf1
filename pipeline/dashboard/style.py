"""How the live page looks, by day and by night: calm colours (Okabe & Ito, safe for colour-blind readers)."""

TEMPLATE = """{% extends "base.html" %}
{% block extra_resources %}
<style>
:root { --ink: #1f2933; --soft: #5f6b76; --line: #dde2e7; --card: #ffffff; --ground: #fafafa; --bar: #eeeeee;
  --blue: #0072b2; --orange: #d55e00; --green: #009e73; color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #9aa5b1; --line: #333c45; --card: #1c2228; --ground: #14181c; --bar: #1c2228;
    --blue: #56b4e9; --orange: #e69f00; --green: #2fbf94; }
  .navbar ul { background-color: var(--bar); }
  .navbar li a { color: var(--ink); }
  #dask-logo img { filter: invert(1) hue-rotate(180deg); }
}
html, body { background: var(--ground); color: var(--ink); }
body { height: auto; }
#over { display: none; max-width: 1200px; margin: 12px auto 4px; color: var(--soft); font-size: 14px; }
body.over #over { display: block; }
body.over .plots { pointer-events: none; }
</style>
{% endblock %}
{% block content %}
<p id="over">The process behind this page has ended; nothing moves any more. What the run left is in its folder.</p>
<div class="plots">
{{ plot_div }}
{{ plot_script }}
</div>
{% endblock %}
"""

PARTS = """
:host { color: var(--ink); font: 14px/1.45 Helvetica, Arial, sans-serif; font-variant-numeric: tabular-nums; }
* { box-sizing: border-box; }
.bk-clearfix { display: block; width: 100%; }
h2 { font-size: 13px; font-weight: 600; color: var(--soft); margin: 14px 0 6px; }
u { display: block; text-decoration: none; }
.soft { color: var(--soft); margin: 4px 0; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; font-size: 12px; color: var(--soft); }
th, td { padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
td:nth-child(n+5), th:nth-child(n+5) { text-align: right; padding-right: 4px; }
.workers td:nth-child(n+3), .workers th:nth-child(n+3) { text-align: right; padding-right: 4px; }
.runs tr.chosen td { font-weight: 600; }
.runs td:nth-child(3), .runs td:nth-child(4) { max-width: 320px; overflow: hidden; text-overflow: ellipsis; }
s { display: inline-block; width: 9px; height: 9px; border-radius: 50%; margin-right: 7px; background: var(--soft); }
s.running { background: var(--blue); }
s.committed { background: var(--green); }
s.degraded, s.interrupted, s.lost { background: var(--orange); }
s.failed { background: #c0392b; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); gap: 10px; margin: 10px 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; }
.tile b { display: block; font-weight: 600; font-size: 12px; color: var(--soft); }
.tile span { display: block; font-size: 22px; line-height: 1.3; }
.tile i { display: block; font-style: normal; font-size: 12px; color: var(--soft); }
.strip { display: flex; flex-wrap: wrap; gap: 10px; list-style: none; margin: 12px 0 4px; padding: 0; }
.strip li { flex: 1 1 110px; color: var(--soft); border-bottom: 3px solid var(--line); position: relative;
  padding-bottom: 4px; }
.strip b { font-weight: 600; margin-right: 8px; }
.strip i { font-style: normal; }
.strip u { position: absolute; bottom: -3px; left: 0; height: 3px; background: var(--green); }
.strip li.now, .strip li.past { color: var(--ink); }
.strip li.now u { background: var(--blue); }
.stack { display: flex; height: 14px; border-radius: 7px; overflow: hidden; background: var(--line); }
.done { background: var(--green); } .running { background: var(--blue); }
.waiting { background: var(--line); } .failed { background: #c0392b; }
.legend { display: flex; flex-wrap: wrap; gap: 18px; list-style: none; margin: 6px 0 0; padding: 0;
  color: var(--soft); }
.legend u { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 6px; }
.meter { display: inline-block; width: 120px; height: 8px; border-radius: 4px; background: var(--line);
  margin-right: 10px; overflow: hidden; vertical-align: middle; }
.meter u { height: 8px; background: var(--orange); }
.messages { margin: 14px 0; padding: 0 0 0 18px; color: var(--soft); }
.messages .bad { color: var(--ink); font-weight: 600; }
select.bk-input { appearance: auto; background: var(--card); color: var(--ink); border-color: var(--line); }
@media (max-width: 700px) { table { display: block; overflow-x: auto; } }
"""
