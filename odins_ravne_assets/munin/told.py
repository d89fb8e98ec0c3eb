"""What became of a stage, as a line of its run's log: the facts that a reader looks for first."""

from odins_ravne_assets.munin.reporter import Facts


def told_of(stage: str, facts: Facts) -> str:
    """A sentence.

    Args:
        stage: the asset.
        facts: what the stage shows, see `facts.py`.
    """
    match stage:
        case "footage":
            said = (
                f"{facts['media/images']} pictures and {facts['media/videos']} videos, "
                f"{facts['media/failed']} unusable; {facts['time/first']} to {facts['time/last']}"
            )
        case "detections":
            said = (
                f"{facts['media/newly_looked_at']} media looked at now, {facts['media/done']} in "
                f"all; {facts['boxes/animal']} boxes of animals, {facts['boxes/person']} of "
                f"people, {facts['boxes/vehicle']} of vehicles; {facts['media/empty']} media are "
                "empty"
            )
        case "classifications":
            said = (
                f"{facts['boxes/newly_labelled']} boxes labelled now, {facts['boxes/labelled']} "
                f"in all, {facts['boxes/auto_ok']} of them surely"
            )
        case "observations":
            said = (
                f"{facts['visits/total']} visits, {facts['visits/needs_review']} for a person to "
                f"look at; report: {facts['path:report']}"
            )
        case _:
            said = f"{facts['exports/visits']} visits written to {facts['path:exports/folder']}"
    return f"{stage}: {said}"
