"""Clients bound to the app under test: what ``real_http_client`` and ``real_websocket_client`` give."""

from realstack.services.app.http_client import HttpClient
from realstack.services.app.websocket_client import WebSocketClient

__all__ = ("HttpClient", "WebSocketClient")
