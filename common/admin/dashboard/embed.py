#!/usr/bin/env python3
"""Makes the dashboard's one page of its parts, and C++ of the page: embed.py PAGE STYLE SCRIPT OUTPUT."""

import base64
import hashlib
import sys

MOST = 65536  # bytes of a string literal, with all that stands beside it: more than that no compiler needs to take


def policy_source(text):
    """How a Content-Security-Policy names an inline part (CSP Level 3, section 6.7.3.3)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def literal(text):
    delimiter = "page"
    assert f"){delimiter}" not in text and len(text.encode()) < MOST
    return f'R"{delimiter}({text}){delimiter}"'


def main():
    page, style, script, output = sys.argv[1:]
    page, style, script = (open(path, encoding="utf-8").read() for path in (page, style, script))
    for part in (style, script):
        assert "</s" not in part, "it would end its element"
    whole = page.replace("@style@", style).replace("@script@", script)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src {policy_source(style)}",
            f"script-src {policy_source(script)}",
            "connect-src 'self' ws: wss:",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
    with open(output, "w", encoding="utf-8") as file:
        file.write('#include "common/admin/dashboard.h"\n\nnamespace aphlict::admin {\n\n')
        file.write(f"const std::string_view kDashboardPage =\n{literal(whole)};\n\n")
        file.write(f"const std::string_view kDashboardPolicy =\n{literal(policy)};\n\n")
        file.write("}  // namespace aphlict::admin\n")


if __name__ == "__main__":
    main()
