"""Line charts with logarithmic axes as SVG, the same bytes for the same numbers. Black on white, in light and dark alike."""

import math

WIDTH, HEIGHT = 740, 400
LEFT, RIGHT, TOP, BOTTOM = 80, 230, 40, 56
COLOURS = ("#0b5cad", "#c2410c", "#15803d", "#7e22ce", "#475569", "#b91c1c")
DASHES = ("", "8 4", "2 3", "10 3 2 3", "5 5", "1 4")


def tick_text(value):
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:g}{suffix}"
    return f"{value:g}"


class Axis:
    def __init__(self, values, begin, end):
        self.low, self.high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        if self.low == self.high:
            self.high += 1
        self.begin, self.end = begin, end

    def place(self, value):
        return self.begin + (self.end - self.begin) * (math.log10(value) - self.low) / (self.high - self.low)

    def ticks(self):
        return [10.0**exponent for exponent in range(self.low, self.high + 1)]


def chart(title, x_label, y_label, series):
    """`series` maps names to lists of (x, y), all above 0."""
    points = [point for line in series.values() for point in line]
    x_axis = Axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
    y_axis = Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
             f'font-size="12" fill="#111">', f"<title>{title}</title>",
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
             f'<text x="{LEFT}" y="22" font-size="14" font-weight="bold">{title}</text>']
    for x in x_axis.ticks():
        at = f"{x_axis.place(x):.1f}"
        parts.append(f'<path d="M{at} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>'
                     f'<text x="{at}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick_text(x)}</text>')
    for y in y_axis.ticks():
        at = y_axis.place(y)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                     f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tick_text(y)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 14}" text-anchor="middle">{x_label}</text>')
    parts.append(f'<text transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
                 f'text-anchor="middle">{y_label}</text>')
    for number, (name, line) in enumerate(series.items()):
        look = f'stroke="{COLOURS[number]}" stroke-width="2" fill="none" stroke-dasharray="{DASHES[number]}"'
        path = " ".join(f"{x_axis.place(x):.1f},{y_axis.place(y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{path}" {look}/>')
        y = TOP + 14 + 20 * number
        parts.append(f'<path d="M{WIDTH - RIGHT + 12} {y}h28" {look}/>'
                     f'<text x="{WIDTH - RIGHT + 46}" y="{y + 4}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
