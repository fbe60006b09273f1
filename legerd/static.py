"""What the page needs besides itself: its stylesheet and its icon."""

from __future__ import annotations

STYLESHEET = """
:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --card: #fff; --line: #d9dde3; --text: #1b1f26; --faint: #59616e;
  --accent: #0b5fb0; --good: #0b6b3a; --good-ground: #e0f3e7; --bad: #a3180f; --soon: #7a4a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14161a; --card: #1d2026; --line: #343a44; --text: #e6e8ec; --faint: #a0a8b5;
    --accent: #7db8f5; --good: #7fdba4; --good-ground: #143222; --bad: #ff9d94; --soon: #f0c070;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 80rem; padding: 1rem; background: var(--ground); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0.5rem 0; }
h2 { font: 600 1rem/1.4 ui-monospace, monospace; margin: 0; white-space: pre-wrap; }
h3 { font-size: 0.875rem; font-weight: 400; color: var(--faint); margin: 0; padding: 0.15rem 0; }
p { margin: 0.25rem 0; }
ul { list-style: none; margin: 0; padding: 0; }
header p, .told { color: var(--faint); }
form { display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: center; margin: 0.75rem 0; }
input, button {
  font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: 0.4rem; padding: 0.4rem 0.7rem; min-height: 2.75rem;
}
input { flex: 1 1 10rem; min-width: 0; max-width: 30rem; }
button { color: var(--accent); cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
article {
  display: grid; grid-template-columns: minmax(0, 1fr); gap: 0.75rem; margin: 0.75rem 0;
  padding: 0.9rem 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 0.6rem;
}
table { border-collapse: collapse; width: 100%; font-size: 0.875rem; }
th { color: var(--faint); font-weight: 400; }
th, td { text-align: left; vertical-align: top; padding: 0.15rem 0.75rem 0.15rem 0; }
td:first-child, time { white-space: nowrap; overflow-wrap: normal; }
td:first-child { font-variant-numeric: tabular-nums; }
.active td { font-weight: 600; }
.active strong {
  color: var(--good); background: var(--good-ground); border-radius: 1rem; padding: 0 0.5rem;
  font-weight: 600;
}
details { font-size: 0.875rem; }
summary { color: var(--accent); cursor: pointer; padding: 0.5rem 0; }
.about { white-space: pre-wrap; }
.labels { display: flex; flex-wrap: wrap; gap: 0.25rem 0.5rem; font-size: 0.8125rem; }
.labels li { border: 1px solid var(--line); border-radius: 1rem; padding: 0 0.6rem; }
.over { color: var(--bad); font-weight: 600; }
.soon { color: var(--soon); font-weight: 600; }
.units { font-size: 0.875rem; }
.units p { color: var(--faint); margin: 0; }
.code {
  font: 0.75em ui-monospace, monospace; color: var(--bad); border: 1px solid currentColor;
  border-radius: 0.2rem; padding: 0 0.2rem; margin: 0 0.1rem; white-space: nowrap;
}
@media (max-width: 36rem) {
  thead { display: none; }
  tr { display: flex; flex-wrap: wrap; gap: 0 0.75rem; padding: 0.2rem 0; }
  td { padding: 0; }
  .by { flex: 1 0 100%; color: var(--faint); }
  .units { display: flex; gap: 0.75rem; }
  .units p { padding: 0.15rem 0; }
}
@media (min-width: 60rem) {
  article { grid-template-columns: minmax(0, 4fr) minmax(0, 5fr) minmax(0, 3fr); gap: 1.5rem; }
}
@media print { article { break-inside: avoid; } form { display: none; } }
""".lstrip().encode()

ICON = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect width="32" height="32" rx="7" fill="#0b5fb0"/>
<circle cx="12" cy="16" r="5" fill="none" stroke="#fff" stroke-width="3"/>
<path d="M17 16h9v5m-4-5v4" fill="none" stroke="#fff" stroke-width="3"/>
</svg>
"""

FILES = {
    "/static/style.css": ("text/css; charset=utf-8", STYLESHEET),
    "/static/icon.svg": ("image/svg+xml", ICON),
}
