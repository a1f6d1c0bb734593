from .registry import (
    PROTOCOLS as PROTOCOLS,
)
from .registry import (
    roles_of as roles_of,
)
from .roles import (
    Roles as Roles,
)
from .roles import (
    Selection as Selection,
)
from .roles import (
    select as select,
)
