"""The page's one style sheet: system fonts, light and dark, readable on a phone and on paper."""

CSS = """
:root { color-scheme: light dark; --paper: #fdfdfc; --ink: #1d2126; --soft: #5d6570;
  --line: #dfe2e6; --tint: #f3f4f5; --accent: #b34700; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181c; --ink: #e4e7ea; --soft: #9aa3ad;
  --line: #30363d; --tint: #1d2227; --accent: #ff9d57; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
h1 { font-size: 2.1rem; line-height: 1.15; letter-spacing: -0.02em; margin: 0 0 .6rem;
  text-wrap: balance; }
h2 { font-size: 1.35rem; letter-spacing: -0.01em; margin: 3.5rem 0 .4rem; padding-top: 1.4rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 2.2rem 0 .6rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: inherit; }
.lead { color: var(--soft); font-size: 1.05rem; margin-bottom: 1.4rem; }
.facts { display: flex; flex-wrap: wrap; gap: .2rem 2.4rem; margin: 1.2rem 0 0; padding: 0; }
.facts div { min-width: 5rem; max-width: 100%; }
.facts dt { color: var(--soft); font-size: .78rem; }
.facts dd { margin: 0; font-weight: 600; }
.verdict { border-left: 3px solid var(--accent); margin: 1.2rem 0; padding: .1rem 0 .1rem 1rem;
  max-width: 52rem; list-style: none; } .verdict li { margin: .15rem 0; }
h1, h2, h3, h4, p, li, dt, dd, th, td, span, code { unicode-bidi: isolate; }
.scroll { overflow-x: auto; margin: 1rem 0 .2rem; }
.scroll th:first-child, .scroll td:first-child { position: sticky; left: 0; z-index: 1;
  background: var(--paper); }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .42rem .9rem .42rem 0; text-align: left; vertical-align: baseline;
  white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; font-size: .82rem; white-space: normal;
  overflow-wrap: break-word; vertical-align: bottom; border-bottom-color: var(--soft); }
td:not(.n) { white-space: normal; min-width: 9rem; }
th.n, td.n { text-align: right; padding: .42rem 0 .42rem .9rem; }
td.n + td, th.n + th { padding-left: 1.6rem; }
td.n + td.n, th.n + th.n { padding-left: .9rem; }
td:first-child { font-weight: 500; }
tr.control td { color: var(--soft); }
tr.control td:first-child { font-weight: 400; padding-left: 1rem; }
tr.main td, .scroll tr.main td:first-child { background: var(--tint); }
.tail { color: var(--soft); font-size: .84em; margin-left: .25em; }
.caption, .note { color: var(--soft); font-size: .84rem; max-width: 50rem; }
figure { margin: 1.6rem 0 .6rem; }
figure svg { width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .84rem; max-width: 50rem; margin-top: .3rem; }
pre { background: var(--tint); padding: .8rem 1rem; border-radius: 6px;
  overflow-x: auto; white-space: pre-wrap;
  font: .82rem/1.5 ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; }
details { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; padding: .5rem 0; }
summary span { color: var(--soft); margin-left: .6rem; font-size: .88rem; }
details > div { padding: 0 0 1.2rem 1.1rem; }
ul.notes { padding-left: 1.1rem; max-width: 48rem; } ul.notes li { margin: .45rem 0; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr));
  gap: 1.4rem 1.2rem; margin: 1rem 0; }
.card img { width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--tint);
  border-radius: 6px; display: block; }
.card h4 { margin: .5rem 0 .3rem; font-size: .88rem; }
.guess { display: grid; grid-template-columns: 1fr auto; font-size: .8rem; gap: 0 .5rem;
  font-variant-numeric: tabular-nums; margin-bottom: .25rem; }
.guess i { grid-column: 1 / -1; height: 3px; border-radius: 2px; background: var(--accent);
  min-width: 2px; }
.maps { display: grid; grid-template-columns: repeat(3, 1fr); gap: .3rem; margin-top: .5rem;
  font-size: .7rem; color: var(--soft); }
ul.words { list-style: none; padding: 0; margin: .4rem 0 0; font-size: .72rem;
  color: var(--soft); overflow-wrap: anywhere; }
@media (max-width: 40rem) { main { padding: 1.6rem 1rem 3rem; } h1 { font-size: 1.6rem; }
  table { font-size: .84rem; } td:not(.n) { min-width: 7rem; }
  .scroll th:first-child, .scroll td:first-child { min-width: 7.5rem; max-width: 9.5rem;
    padding-right: .5rem; white-space: normal; border-right: 1px solid var(--line); }
  figure { overflow-x: auto; } figure svg { min-width: 40rem; }
  figcaption { position: sticky; left: 0; } }
footer { margin-top: 4rem; color: var(--soft); font-size: .82rem; }
@media print { main { max-width: none; padding: 0; } details { break-inside: avoid; } }
"""
