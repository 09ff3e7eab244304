"""The style sheet of the report: light and dark, narrow and wide, screen and print."""

from __future__ import annotations

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root{--ink:#17212b;--soft:#5b6875;--line:#dde3e9;--paper:#fff;--back:#f4f6f8;--bad:#c2334d;--good:#2468a8;--mark:#b97f10}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#9aa7b4;--line:#2d3945;--paper:#18212a;--back:#10171d;
--bad:#f0718a;--good:#6fb1ef;--mark:#e2b04a}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1040px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;margin:0 0 4px}
h2{font-size:18px;margin:34px 0 8px}
p{max-width:75ch;margin:6px 0}
.soft{color:var(--soft)}
code{font-size:13px;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(185px,1fr));gap:12px;margin:18px 0}
.tile,.card{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:12px 14px}
.tile b{display:block;font-size:27px;line-height:1.25}
.tile span{color:var(--soft);font-size:13px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:14px}
.card h3{margin:0 0 4px;font-size:15px}
.card p{font-size:13px;color:var(--soft);margin:4px 0 0}
.plot{width:100%;height:auto}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;background:var(--paper);font-size:13.5px}
th,td{border-bottom:1px solid var(--line);padding:5px 9px;text-align:left;vertical-align:top}
th{color:var(--soft);font-weight:600;white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.grid{stroke:var(--line)}
.tick{font-size:10.5px;fill:var(--soft)}
.axis{font-size:12px;fill:var(--ink)}
polyline{fill:none;stroke-width:2}
.model{stroke:var(--good)}
.chance{stroke:var(--soft);stroke-dasharray:4 4;stroke-width:1.2}
.dot{fill:var(--good);stroke:none}
.fraud{fill:var(--bad)}
.genuine{fill:var(--good)}
.mark{stroke:var(--mark);stroke-dasharray:5 3}
.key i{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 4px 0 10px}
@media print{.card,.tile{break-inside:avoid}}
"""
"""CSS text, put into the page as it is."""
