from .decide import choose as choose
from .question import Question as Question
from .ranking import Choice as Choice, Row as Row
