"""A trial whose memory ran out is tried once more, with twice as many pieces per batch (`accumulated` says what that is).

Losses and gradients are means over the same images. BatchNorm normalises a piece with the piece's own statistics, so that
the effect is equal where a network has none, and alike elsewhere: the record says into how many pieces batches were cut.
"""

from __future__ import annotations

from mtlbench.errors import UserError
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.training.memory_faults import more_pieces, ran_out_of_memory


def pieces_after(error: BaseException, spec: TrialSpec, tried: int | None) -> int | None:
    """The pieces per batch to try again with after an error; None where it has nothing to do with memory.

    Args:
        tried: the pieces per batch of the attempt that failed, if it was the second one.

    Raises:
        UserError: memory ran out, and the trial cannot be tried again.
    """
    if not ran_out_of_memory(error):
        return None
    said = (str(error).splitlines() or [type(error).__name__])[0]
    settings = spec.settings
    if tried is not None:
        raise UserError(
            f"{spec.title}: memory ran out with {tried} pieces per batch, too ({said}). Give a smaller batch_size or image, "
            "or more memory (--gpus 1 gives a whole GPU)."
        )
    pieces = more_pieces(settings.batch_size, settings.micro_batches)
    if pieces is None:
        raise UserError(
            f"{spec.title}: memory ran out ({said}), and batches of {settings.batch_size} images cannot be cut further. "
            "Give a smaller image, or more memory (--gpus 1 gives a whole GPU)."
        )
    return pieces


def retry_note(pieces: int) -> str:
    """What the terminal says of it."""
    return f"memory ran out; tried once more with {pieces} pieces per batch"


def refused_retry(error: UserError, spec: TrialSpec) -> UserError:
    """Why the second attempt could not be made: some strategies need the whole batch at once."""
    return UserError(f"{spec.title}: memory ran out, and it cannot be tried again with more pieces per batch: {error}")
