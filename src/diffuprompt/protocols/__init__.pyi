from .registry import PROTOCOLS as PROTOCOLS, roles_of as roles_of
from .roles import Roles as Roles, Selection as Selection, select as select
