"""The page at /: what this is. It shows no names and no values."""

from __future__ import annotations

HTML = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>legerd</title>
<link rel="stylesheet" href="/static/style.css">
</head>
<body>
<h1>legerd</h1>
<p>A secrets server with setec's API. Ask it with <code>leger secrets</code>, or with setec's own
client.</p>
</body>
</html>
"""

STYLESHEET = b"""body { max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }
body { font: 1rem/1.5 sans-serif; }
@media (prefers-color-scheme: dark) { body { background: #16181d; color: #e4e6ea; } }
"""

HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
