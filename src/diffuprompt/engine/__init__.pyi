from .device import (
    cores as cores,
)
from .device import (
    environment as environment,
)
from .device import (
    generator_on as generator_on,
)
from .device import (
    moved as moved,
)
from .device import (
    peak_memory_mib as peak_memory_mib,
)
from .device import (
    pick as pick,
)
from .device import (
    sent as sent,
)
from .files import (
    read_json as read_json,
)
from .files import (
    read_metadata as read_metadata,
)
from .files import (
    read_tensors as read_tensors,
)
from .files import (
    write_bytes as write_bytes,
)
from .files import (
    write_json as write_json,
)
from .files import (
    write_tensors as write_tensors,
)
from .files import (
    write_text as write_text,
)
from .guard import (
    Guard as Guard,
)
from .loop import (
    Task as Task,
)
from .loop import (
    train as train,
)
from .optim import (
    Optimiser as Optimiser,
)
from .precision import (
    Precision as Precision,
)
from .precision import (
    mixed as mixed,
)
from .progress import (
    NULL as NULL,
)
from .progress import (
    LogProgress as LogProgress,
)
from .progress import (
    Progress as Progress,
)
from .progress import (
    Tally as Tally,
)
from .progress import (
    format_seconds as format_seconds,
)
from .seeds import (
    python_stream as python_stream,
)
from .seeds import (
    torch_stream as torch_stream,
)
