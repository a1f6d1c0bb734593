from .registry import PROTOCOLS as PROTOCOLS, find_protocol as find_protocol, roles_of as roles_of
from .roles import Roles as Roles, Selection as Selection, select as select
