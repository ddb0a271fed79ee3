"""The table on the terminal."""


def figure(value):
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def table(outcome):
    lines = []
    width = max([len(subject) for subject in [*outcome.figures, *outcome.failures, *outcome.absent]] or [0])
    for subject, metrics in outcome.figures.items():
        for number, (metric, series) in enumerate(metrics.items()):
            text = f"  {subject if number == 0 else '':{width}}  {metric:22} {figure(series.median):>9} {series.unit}"
            if len(series.values) > 1:
                text += f"  ({figure(min(series.values))}–{figure(max(series.values))})"
            if (subject, metric) in outcome.split:
                text += f"  {100 * outcome.split[subject, metric][0].user_part:.0f} % user"
            lines.append(text)
    for subject, why in outcome.failures.items():
        lines.append(f"  {subject:{width}}  FAILED: {why}")
    for subject, why in outcome.absent.items():
        lines.append(f"  {subject:{width}}  left out: {why}")
    for text, value in outcome.notes.items():
        lines.append(f"  {text}: {figure(value)}")
    for bar in outcome.bars:
        value = "" if bar["value"] is None else f" {figure(bar['value'])}{bar['unit']}"
        lines.append(f"  {bar['verdict']:>6}{value}  {bar['bar']}")
    if outcome.foreign > 0.2:
        lines.append(f"  others used up to {outcome.foreign:.1f} cores meanwhile: take the figures with care")
    return lines
