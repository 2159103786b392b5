"""How the page looks, and the few lines that filter its rows."""

from typing import Final

STYLE: Final = """
:root { --ink: #1b2430; --soft: #5c6b7a; --line: #dfe5eb; --paper: #fff; --ground: #f5f7f9;
  --pass: #1a7f4b; --fail: #c22f2f; --unclean: #b4550a; --non-strict: #8a6d00; --info: #2a66b8;
  --skip: #7b8794; --other: #7a3fa8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --soft: #9aa8b5; --line: #2c3742;
  --paper: #171e26; --ground: #10161c; --pass: #4cc58a; --fail: #ff7b72; --unclean: #f0a050;
  --non-strict: #d9b93b; --info: #79aef2; --skip: #8793a0; --other: #c79bea; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem clamp(1rem, 4vw, 4rem); background: var(--ground);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
h2 small { font-weight: 400; color: var(--soft); margin-left: .5rem; font-size: .85rem; }
.overall { font-size: 1.1rem; font-weight: 600; margin: 0 0 1rem; }
.overall.good { color: var(--pass); } .overall.bad { color: var(--fail); }
dl { display: flex; flex-wrap: wrap; gap: .25rem 2rem; margin: 0 0 1rem; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-variant-numeric: tabular-nums; }
.bar { display: flex; gap: 2px; height: 10px; border-radius: 5px; overflow: hidden; }
.bar span { background: var(--c); }
nav { position: sticky; top: 0; display: flex; flex-wrap: wrap; gap: .5rem; padding: 1rem 0 .5rem;
  background: var(--ground); z-index: 1; }
nav button, nav input { font: inherit; color: inherit; background: var(--paper);
  padding: .25rem .7rem; border: 1px solid var(--line); border-radius: 6px; }
nav button { cursor: pointer; }
nav button[aria-pressed="true"] { border-color: var(--ink); }
nav input { flex: 1; min-width: 12rem; }
table { width: 100%; border-collapse: collapse; background: var(--paper);
  border: 1px solid var(--line); border-radius: 8px; }
th { text-align: left; font-size: .8rem; font-weight: 600; color: var(--soft); }
th, td { padding: .45rem .7rem; border-top: 1px solid var(--line); vertical-align: top; }
thead th { border-top: 0; }
td:nth-child(3) { width: 60%; }
.id, .time, .close { white-space: nowrap; } .time { text-align: right; color: var(--soft);
  font-variant-numeric: tabular-nums; } .close { color: var(--soft); }
.id a { color: inherit; text-decoration: none;
  font: .9em ui-monospace, monospace; }
tr:target td { background: color-mix(in srgb, var(--info) 12%, transparent); }
.chip { display: inline-block; padding: 0 .5rem; border-radius: 4px;
  font-size: .75rem; font-weight: 700; letter-spacing: .03em; color: var(--paper);
  background: var(--c); white-space: nowrap; }
.found { color: var(--soft); font-size: .9em; overflow-wrap: anywhere; }
.v-pass { --c: var(--pass); } .v-fail { --c: var(--fail); } .v-unclean { --c: var(--unclean); }
.v-non-strict { --c: var(--non-strict); } .v-info { --c: var(--info); }
.v-skip { --c: var(--skip); }
.v-unimplemented, .v-inconclusive { --c: var(--other); }
tr[data-verdict="FAIL"] .found { color: var(--fail); }
tr[data-verdict="UNCLEAN"] .found { color: var(--unclean); }
details { margin-top: .4rem; } summary { cursor: pointer; color: var(--soft); font-size: .85em; }
.log { margin-top: .3rem; padding: .5rem; border-radius: 6px; background: var(--ground);
  max-height: 24rem;  overflow: auto; font: .78rem/1.6 ui-monospace, monospace; }
.log div { display: grid; grid-template-columns: 5rem minmax(6rem, auto) 1.2rem 1fr; gap: .5rem;
  overflow-wrap: anywhere; }
.log .t { color: var(--soft); } .log .sent span:nth-child(3) { color: var(--info); }
.log .got span:nth-child(3) { color: var(--unclean); }
[hidden] { display: none; }
@media (max-width: 50rem) { th:nth-child(n+4), td:nth-child(n+4) { display: none; } }
"""

SCRIPT: Final = """
const buttons = [...document.querySelectorAll("nav button")];
const search = document.querySelector("nav input");
function show() {
  const verdict = buttons.find(b => b.getAttribute("aria-pressed") === "true").dataset.verdict;
  const words = search.value.trim().toLowerCase();
  for (const row of document.querySelectorAll("tbody tr")) {
    row.hidden = (verdict && row.dataset.verdict !== verdict)
      || (words && !row.textContent.toLowerCase().includes(words));
  }
  for (const part of document.querySelectorAll("section")) {
    part.hidden = !part.querySelector("tbody tr:not([hidden])");
  }
}
for (const button of buttons) {
  button.addEventListener("click", () => {
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    show();
  });
}
search.addEventListener("input", show);
"""
