"""Jobs of a launch that wait in a spot queue: log why, and move starving ones to on-demand."""

from collections.abc import Sequence
from dataclasses import dataclass

from resources.batch.jobs import Job
from resources.batch.work_units import JOB_VCPUS
from resources.launch.decisions import UnitDecisions
from resources.launch.job_monitor import JobMonitor
from resources.launch.submission import LaunchJobs
from resources.spot.market import SpotEnvironment
from resources.spot.policy import MoveToOnDemand
from resources.spot.queue_state import QueueState


@dataclass(frozen=True)
class SpotQueue:
    """The jobs of one launch that are RUNNABLE in a spot queue."""

    jobs: LaunchJobs
    decisions: UnitDecisions

    def check(self, queued: Sequence[tuple[JobMonitor, Job]]) -> None:
        """Update the starvation timers of queued jobs, and move those that starve for too long.

        Raises:
            botocore.exceptions.ClientError, BotoCoreError: AWS refused, or did not answer.
        """
        if not queued:
            return
        environment = SpotEnvironment(self.jobs.clients, self.jobs.aws, JOB_VCPUS)
        states = environment.queue_states(str(job["jobId"]) for _, job in queued)
        now = self.jobs.clients.clock.now()
        for monitor, job in queued:
            state = states[str(job["jobId"])]
            monitor.starvation = monitor.starvation.update(now, state is QueueState.STARVING)
            if monitor.attempt.moving is not None:
                if not monitor.is_cancelled:  # the call failed, or an earlier process died before
                    self._cancel(monitor, monitor.attempt.moving)
                continue  # soon FAILED
            choice = self.decisions.while_queued(
                monitor.unit, state, monitor.starvation, job.get("statusReason", "")
            )
            if isinstance(choice, MoveToOnDemand):
                self.move(monitor, choice.reason)
            elif state is not QueueState.MACHINE_COMING:
                self._log_once(monitor, choice.reason.partition(";")[0])

    def move(self, monitor: JobMonitor, reason: str) -> None:
        """Cancel a job to move it, as a job cannot change queues; it is resubmitted once FAILED."""
        self.jobs.log(monitor.unit, f"moving to on-demand: {reason}")
        monitor.attempt.moving = reason
        self.jobs.save()
        self._cancel(monitor, reason)

    def _cancel(self, monitor: JobMonitor, reason: str) -> None:
        self.jobs.terminate(monitor.attempt, reason)
        monitor.is_cancelled = True

    def _log_once(self, monitor: JobMonitor, text: str) -> None:
        if monitor.last_message != text:
            monitor.last_message = text
            self.jobs.log(monitor.unit, text)
