from .device import (
    cores as cores,
    environment as environment,
    generator_on as generator_on,
    moved as moved,
    peak_memory_mib as peak_memory_mib,
    pick as pick,
    sent as sent,
)
from .files import (
    check_finite as check_finite,
    in_half as in_half,
    read_tensors as read_tensors,
    write_bytes as write_bytes,
    write_json as write_json,
    write_tensors as write_tensors,
    write_text as write_text,
)
from .guard import Guard as Guard
from .loop import Task as Task, train as train
from .optim import Optimiser as Optimiser, first_stage as first_stage
from .precision import Precision as Precision, mixed as mixed
from .progress import (
    NULL as NULL,
    LogProgress as LogProgress,
    Progress as Progress,
    Tally as Tally,
    format_seconds as format_seconds,
)
from .seeds import python_stream as python_stream, torch_stream as torch_stream
