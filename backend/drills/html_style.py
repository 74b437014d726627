"""The style sheet of the HTML report: one calm page, light or dark as the reader's system is. Data only."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--bg:#fbfaf7;--card:#fff;--ink:#22262b;--soft:#666e78;--rule:#e6e3dc;--band:#f4f1ea;
--band2:#ece8df;--blue:#2f6db3;--blue2:#9bbfe4;--violet:#7a4fb0;--violet2:#c4aee0;--green:#2c8a57;--amber:#b97a14;
--red:#c23b3b;--bar:#b9cbdd;--wash:#c23b3b14}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1b1f24;--ink:#e4e7ea;--soft:#98a1ab;--rule:#2c3138;
--band:#20252b;--band2:#272d34;--blue:#74b0ef;--blue2:#3e648d;--violet:#b995ec;--violet2:#5f4b80;--green:#5cc48d;
--amber:#e0ab4f;--red:#f07575;--bar:#3b4f64;--wash:#f0757517}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:36px 28px 72px}
h1{font-size:27px;line-height:1.25;margin:0 0 6px;letter-spacing:-.01em}
h2{font-size:17px;margin:44px 0 12px;letter-spacing:-.005em}
h3{font-size:14px;margin:22px 0 6px;color:var(--soft);font-weight:600}
p{margin:0 0 10px}.soft,.meta{color:var(--soft)}.meta{font-size:13px}
code,.mono{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.banner{border-radius:14px;padding:24px 28px;background:var(--card);border:1px solid var(--rule);
border-left:7px solid var(--tone);margin-bottom:16px}
.verdict{display:inline-block;color:var(--tone);font-weight:700;font-size:13px;letter-spacing:.07em;
text-transform:uppercase;margin-bottom:6px}
.good-tone{--tone:var(--green)}.bad-tone{--tone:var(--red)}.warn-tone{--tone:var(--amber)}
.banner ul{margin:12px 0 0;padding-left:18px}.banner li{margin:2px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:16px 0 0}
.tile{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:13px 16px}
.tile b{display:block;font-size:21px;font-weight:650;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.tile span{font-size:12.5px;color:var(--soft)}
.card{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:16px 18px;margin:0 0 14px;
overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th{font-weight:600;color:var(--soft);text-align:left;font-size:12px;white-space:nowrap}
th,td{padding:6px 12px 6px 0;border-bottom:1px solid var(--rule);vertical-align:top}
tr:last-child td{border-bottom:0}td.n,th.n{text-align:right;white-space:nowrap}.zero{color:var(--soft)}
.hot{color:var(--red);font-weight:650}
.pill{display:inline-block;min-width:62px;text-align:center;border-radius:99px;padding:0 9px;font-size:12px;
font-weight:600;border:1px solid currentColor}
.pass{color:var(--green)}.fail{color:var(--red)}.unknown{color:var(--amber)}
svg{display:block;width:100%;height:auto}
svg text{font:11.5px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--soft)}
.phasename{font-weight:600}.end{text-anchor:end}.middle{text-anchor:middle}
.phase{fill:var(--band)}.phase.odd{fill:var(--band2)}.grid{stroke:var(--rule);stroke-width:1}
.outage{fill:var(--wash)}.good{fill:var(--bar)}.bad{fill:var(--red)}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.p95{stroke:var(--blue);--c:var(--blue)}.p50{stroke:var(--blue2);--c:var(--blue2)}
.t95{stroke:var(--violet);--c:var(--violet)}.t50{stroke:var(--violet2);--c:var(--violet2)}
.mark{stroke-width:1.5}.injected{stroke:var(--soft);stroke-dasharray:3 3;--c:var(--soft)}
.effective{stroke:var(--red);--c:var(--red)}.detected{stroke:var(--amber);--c:var(--amber)}
.recovered{stroke:var(--green);--c:var(--green)}.lost{stroke:var(--red);stroke-width:1.5}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:8px 0 0;font-size:12.5px;color:var(--soft)}
.key i{display:inline-block;width:16px;height:3px;border-radius:2px;margin-right:6px;vertical-align:middle;
background:var(--c)}
.key i.lostkey{width:2px;height:12px;background:var(--red)}
.steps{display:flex;flex-wrap:wrap;gap:8px 0;margin:8px 0 4px;list-style:none;padding:0}
.steps li{position:relative;padding:0 22px 0 16px;font-size:13px}
.steps li::before{content:"";position:absolute;left:0;top:.5em;width:9px;height:9px;
border-radius:50%;background:var(--c)}
.steps b{display:block;font-size:16px;font-weight:650;font-variant-numeric:tabular-nums}
.steps span{color:var(--soft);font-size:12.5px}
details{margin:8px 0}summary{cursor:pointer;color:var(--soft)}
pre{margin:8px 0 0;white-space:pre-wrap;font:12.5px/1.6 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
footer{margin-top:48px;color:var(--soft);font-size:12.5px;border-top:1px solid var(--rule);padding-top:14px}
@media print{body{background:#fff}.card,.banner,.tile{break-inside:avoid}}
"""
