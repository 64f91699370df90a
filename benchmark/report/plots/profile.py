"""The performance profile."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from benchmark.report import format as fmt
from benchmark.report.plots import frame
from benchmark.report.style import OTHER, Look
from benchmark.scoring import Scores


@frame.styled()
def performance_profile(scores: Scores, looks: Mapping[str, Look]) -> Figure:
    """rho(tau): the fraction of workloads on which a submission is within tau of the fastest."""
    figure, axes = frame.empty()
    profile = scores.profile
    coloured = frame.coloured(looks)
    others = [name for name in scores.scores if looks[name] is OTHER]
    for name in others:
        axes.plot(
            profile.index,
            profile[name],
            drawstyle="steps-post",
            color=OTHER.colour,
            linewidth=0.6,
            zorder=1.5,
        )
    entries = []
    for i, name in enumerate(coloured):
        look = looks[name]
        jumps = profile[name].diff().fillna(profile[name]) > 0
        # Where lines coincide the better ones, drawn first and wider, still show.
        width = 1.5 + 3.0 * (len(coloured) - 1 - i) / max(1, len(coloured) - 1)
        axes.plot(
            profile.index,
            profile[name],
            drawstyle="steps-post",
            color=look.colour,
            linestyle=look.linestyle,
            linewidth=width,
            marker=look.marker,
            markersize=7,
            markevery=[position for position, jump in enumerate(jumps) if jump],
        )
        label = f"{name} ({fmt.score(scores.scores[name])})"
        entries.append((frame.look_handle(look, width), label))
    if others:
        entries.append(frame.others_entry(len(others)))
    axes.set_xlim(profile.index[0] - 0.04, profile.index[-1])
    axes.set_ylim(-0.04, 1.06)
    axes.set_xlabel("τ: time to target / that of the fastest submission")
    axes.set_ylabel("fraction of workloads reached within τ")
    frame.finish(figure, axes, "Performance profile (benchmark score)", entries)
    return figure
