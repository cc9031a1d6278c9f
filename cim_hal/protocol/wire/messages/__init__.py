"""The messages of the wire protocol, one class each.

Messages are frozen and refuse unknown fields and values of another type. Arrays are no part of
a message: they travel beside it, in the buffers of a `Packet`. A class that descends from `Request`
or `Reply` in one of the modules here may travel, and needs no other list.
"""

from typing import TypeAlias

from pydantic import TypeAdapter

from cim_hal.protocol.wire.base import *
from cim_hal.protocol.wire.messages.control import *
from cim_hal.protocol.wire.messages.couplings import *
from cim_hal.protocol.wire.messages.instruments import *
from cim_hal.protocol.wire.messages.jobs import *
from cim_hal.protocol.wire.messages.session import *
from cim_hal.protocol.wire.messages.status import *

Event: TypeAlias = JobStatus
REQUESTS, REPLIES = tuple(Request.__subclasses__()), tuple(Reply.__subclasses__())
REQUEST, REPLY, EVENT = one_of(*REQUESTS), one_of(*REPLIES), TypeAdapter(Event)
