"""What became of a stage, as a line of its run's log: the facts that a reader looks for first."""

from typing import Any

from odins_ravne_assets.munin.progress import Facts


def told_of(stage: str, facts: Facts) -> str:
    """A sentence.

    Args:
        stage: the asset.
        facts: what the stage shows, see `facts.py`.
    """
    match stage:
        case "footage":
            what = [_some(facts["media/images"], "picture"), _some(facts["media/videos"], "video")]
            times = f"{facts['time/first']} to {facts['time/last']}"
            said = f"{', '.join(what)}, {facts['media/failed']} unusable; {times}"
        case "detections":
            said = (
                f"{facts['media/newly_looked_at']} media looked at now, {facts['media/done']} in "
                f"all, {facts['media/empty']} of them empty; boxes: {facts['boxes/animal']} of "
                f"animals, {facts['boxes/person']} of people, {facts['boxes/vehicle']} of vehicles"
            )
        case "classifications":
            said = (
                f"{_some(facts['boxes/newly_labelled'], 'crop')} labelled now; "
                f"{facts['boxes/auto_ok']} of {_some(facts['boxes/labelled'], 'box')} are sure"
            )
        case "observations":
            said = (
                f"{_some(facts['visits/total'], 'visit')}, {facts['visits/needs_review']} for a "
                f"person to look at; report: {facts['path:report']}"
            )
        case _:
            visits = _some(facts["exports/visits"], "visit")
            said = f"{visits} written to {facts['path:exports/folder']}"
    return f"{stage}: {said}"


def _some(count: Any, thing: str) -> str:
    ending = "" if count == 1 else "es" if thing.endswith("x") else "s"
    return f"{count} {thing}{ending}"
