"""The asyncio client of Sluice, a message broker that speaks gRPC."""

from .client import Client
from .connection import MetadataSource, Tls
from .connection_state import ConnectionState
from .consumer.consumer import Consumer
from .consumer.delivery import Delivery
from .consumer.settings import ConsumerSettings
from .consumer.settlements import SettlementResult
from .errors import BUFFER_FULL, CLOSED, RETRY_TIMEOUT, FieldViolation, SluiceError, StatusCode
from .message import Durability, Message, Receipt
from .producer.producer import Producer
from .producer.settings import ProducerSettings
from .v1.reasons import ErrorReason

__all__ = [
    "BUFFER_FULL",
    "CLOSED",
    "RETRY_TIMEOUT",
    "Client",
    "ConnectionState",
    "Consumer",
    "ConsumerSettings",
    "Delivery",
    "Durability",
    "ErrorReason",
    "FieldViolation",
    "Message",
    "MetadataSource",
    "Producer",
    "ProducerSettings",
    "Receipt",
    "SettlementResult",
    "SluiceError",
    "StatusCode",
    "Tls",
]
