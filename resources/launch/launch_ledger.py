"""Updates the cost ledger and the reported cost of a launch while it runs."""

import dagster as dg

from resources.aws.errors import one_line
from resources.batch.launch_record import LaunchRecord
from resources.clock import Clock
from resources.errors import StoreError
from resources.launch.running_cost import CostReporter
from resources.ledger.orchestrator_traffic import OrchestratorTraffic
from resources.ledger.writer import CameraLedger, LedgerWriter

LEDGER_UPDATE_SECONDS = 300.0


class LaunchLedger:
    """The ledger of one launch.

    Errors are logged and do not stop the launch, since `munin cost costs` updates the ledger later.

    Args:
        traffic: this process's requests to S3.
        cost: reports the launch's cost.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        camera: CameraLedger,
        writer: LedgerWriter,
        traffic: OrchestratorTraffic,
        cost: CostReporter,
        clock: Clock,
    ) -> None:
        self._context = context
        self._camera = camera
        self._writer = writer
        self._traffic = traffic
        self._cost = cost
        self._clock = clock
        self._updated_at = clock.now()
        self._running: set[str] = set()  # names of the jobs that were running at some poll

    def start(self, record: LaunchRecord) -> None:
        """Start a launch, or resume it."""
        self._traffic.launch = record.identity
        self._cost.start(record)

    def update(self, record: LaunchRecord) -> None:
        """Update the ledger if it is due, and report the cost.

        It is due periodically, since EC2 forgets a machine within an hour of its termination, and
        when a job starts to run, since ECS returns the job's machine only while the machine lives.
        """
        running = {each.name for each in record.attempts if each.active and each.started_at}
        has_new = bool(running - self._running)
        self._running |= running
        if has_new or self._clock.now() - self._updated_at > LEDGER_UPDATE_SECONDS:
            self._write(record)
        self._cost.report(record)

    def close(self, record: LaunchRecord) -> None:
        """Update the ledger at the end of the launch, with the requests of this process."""
        self._write(record)
        self._cost.report(record)
        try:
            name = f"{record.identity}-{self._context.run.run_id}"
            self._traffic.write(self._camera.ledger, name)
        except StoreError as error:
            self._context.log.warning(
                f"the requests of this machine are not in the cost ledger: {error}"
            )

    def _write(self, record: LaunchRecord) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        self._updated_at = self._clock.now()
        try:
            self._cost.update(self._writer.write(self._camera, record))
        except (BotoCoreError, ClientError, StoreError) as error:
            self._context.log.warning(
                f"the cost ledger is not up to date: {one_line(str(error))}; munin cost costs "
                "updates it"
            )
