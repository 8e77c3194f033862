"""What a group commits of a partition: in which log it is believed."""

from uuid import UUID

from holdfast.adapters.kafka.progress import FINISHED_LIMIT, LIMIT, Progress, metadata, progress_in
from holdfast.adapters.kafka.watermark import Watermark

LOG = str(UUID(int=1))
ANOTHER = str(UUID(int=2))
OLD_RELEASE = "1.AQIBAQ"
"""As 0.1.0's first builds committed it: two finished above the offset but one, and one more. It names no log."""


def test_progress_is_taken_up_in_the_log_that_it_names() -> None:
    mark = Watermark(10)
    for offset in range(10, 16):
        mark.take(offset)
    mark.finish(12)
    successor = progress_in(LOG, mark.low, metadata(LOG, mark.finished()))
    assert successor is not None
    assert [n for n in range(10, 16) if Watermark(*successor).take(n)] == [10, 11, 13, 14, 15]


def test_progress_of_another_log_is_none() -> None:
    assert progress_in(ANOTHER, 10, metadata(LOG, "AQI")) is None
    assert progress_in(ANOTHER, 10, metadata(LOG, "")) is None


def test_of_what_an_older_release_committed_the_offset_is_believed_and_nothing_above_it() -> None:
    for text in (OLD_RELEASE, "", "a note of a tool that sets offsets"):
        assert progress_in(LOG, 10, text) == Progress(10)


def test_the_metadata_is_never_longer_than_brokers_allow() -> None:
    assert len(metadata(LOG, "A" * FINISHED_LIMIT)) == LIMIT
