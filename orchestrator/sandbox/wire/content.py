"""What people send each other: the plain text inside encrypted messages, as protobuf.

The tables have the fields that the sandbox's phones write or show. A message of another kind, and a field
that stands in no table, is kept as it is.
"""

from __future__ import annotations

from typing import Final

from orchestrator.sandbox.wire.proto import BOOL, BYTES, DOUBLE, STRING, UINT, Kind, Many, Table, family

REVOKE: Final = 0
EPHEMERAL_SETTING: Final = 3
HISTORY_SYNC_NOTIFICATION: Final = 5
APP_STATE_SYNC_KEY_SHARE: Final = 6
MESSAGE_EDIT: Final = 14
"""Types of a protocol message."""
PIN: Final = 1
UNPIN: Final = 2
"""Types of a message that pins another one."""
ALBUM: Final = 1
"""The type of an association: an image or a video of an album."""

WRAPPERS: Final = {
    "view_once": 37,
    "ephemeral": 40,
    "document_with_caption": 53,
    "view_once_v2": 55,
    "edited": 58,
    "view_once_v2_extension": 59,
}
"""Fields of a message that hold a whole message, for receivers that know what to do with it."""

_CONTEXT = (17, "ContextInfo")

_TABLES: dict[str, Table] = {
    "Message": {
        "conversation": (1, STRING),
        "sender_key": (2, "SenderKeyDistributionMessage"),
        "image": (3, "ImageMessage"),
        "contact": (4, "ContactMessage"),
        "location": (5, "LocationMessage"),
        "extended_text": (6, "ExtendedTextMessage"),
        "document": (7, "DocumentMessage"),
        "audio": (8, "AudioMessage"),
        "video": (9, "VideoMessage"),
        "protocol": (12, "ProtocolMessage"),
        "contacts_array": (13, "ContactsArrayMessage"),
        "live_location": (18, "LiveLocationMessage"),
        "template": (25, "TemplateMessage"),
        "sticker": (26, "StickerMessage"),
        "group_invite": (28, "GroupInviteMessage"),
        "template_button_reply": (29, "TemplateButtonReplyMessage"),
        "device_sent": (31, "DeviceSentMessage"),
        "message_context_info": (35, "MessageContextInfo"),
        "list": (36, "ListMessage"),
        "list_response": (39, "ListResponseMessage"),
        "buttons": (42, "ButtonsMessage"),
        "buttons_response": (43, "ButtonsResponseMessage"),
        "interactive": (45, "InteractiveMessage"),
        "reaction": (46, "ReactionMessage"),
        "interactive_response": (48, "InteractiveResponseMessage"),
        "poll_creation": (49, "PollCreationMessage"),
        "poll_update": (50, "PollUpdateMessage"),
        "poll_creation_v2": (60, "PollCreationMessage"),
        "poll_creation_v3": (64, "PollCreationMessage"),
        "pin_in_chat": (63, "PinInChatMessage"),
        "ptv": (66, "VideoMessage"),
        "event": (75, "EventMessage"),
        "album": (83, "AlbumMessage"),
        "sticker_pack": (86, "StickerPackMessage"),
        **{wrapper: (number, "FutureProofMessage") for wrapper, number in WRAPPERS.items()},
    },
    "FutureProofMessage": {"message": (1, "Message")},
    "DeviceSentMessage": {"destination": (1, STRING), "message": (2, "Message")},
    "SenderKeyDistributionMessage": {"group_id": (1, STRING), "distribution": (2, BYTES)},
    "MessageContextInfo": {"message_secret": (3, BYTES), "message_association": (10, "MessageAssociation")},
    "MessageAssociation": {"association_type": (1, UINT), "parent_message_key": (2, "MessageKey")},
    "MessageKey": {
        "remote_jid": (1, STRING),
        "from_me": (2, BOOL),
        "id": (3, STRING),
        "participant": (4, STRING),
    },
    "ContextInfo": {
        "stanza_id": (1, STRING),
        "participant": (2, STRING),
        "quoted_message": (3, "Message"),
        "remote_jid": (4, STRING),
        "mentioned_jid": (15, Many(STRING)),
        "forwarding_score": (21, UINT),
        "is_forwarded": (22, BOOL),
        "expiration": (25, UINT),
    },
    # Texts, places and people
    "ExtendedTextMessage": {
        "text": (1, STRING),
        "matched_text": (2, STRING),
        "description": (5, STRING),
        "title": (6, STRING),
        "jpeg_thumbnail": (16, BYTES),
        "context_info": _CONTEXT,
    },
    "LocationMessage": {
        "degrees_latitude": (1, DOUBLE),
        "degrees_longitude": (2, DOUBLE),
        "name": (3, STRING),
        "address": (4, STRING),
        "url": (5, STRING),
        "jpeg_thumbnail": (16, BYTES),
        "context_info": _CONTEXT,
    },
    "LiveLocationMessage": {
        "degrees_latitude": (1, DOUBLE),
        "degrees_longitude": (2, DOUBLE),
        "caption": (6, STRING),
        "sequence_number": (7, UINT),
        "context_info": _CONTEXT,
    },
    "ContactMessage": {"display_name": (1, STRING), "vcard": (16, STRING), "context_info": _CONTEXT},
    "ContactsArrayMessage": {
        "display_name": (1, STRING),
        "contacts": (2, Many("ContactMessage")),
        "context_info": _CONTEXT,
    },
    "GroupInviteMessage": {
        "group_jid": (1, STRING),
        "invite_code": (2, STRING),
        "invite_expiration": (3, UINT),
        "group_name": (4, STRING),
        "caption": (6, STRING),
        "context_info": (7, "ContextInfo"),
    },
    # Attachments
    "ImageMessage": {
        "url": (1, STRING),
        "mime": (2, STRING),
        "caption": (3, STRING),
        "sha256": (4, BYTES),
        "length": (5, UINT),
        "height": (6, UINT),
        "width": (7, UINT),
        "key": (8, BYTES),
        "blob_sha256": (9, BYTES),
        "direct_path": (11, STRING),
        "jpeg_thumbnail": (16, BYTES),
        "context_info": _CONTEXT,
        "view_once": (25, BOOL),
    },
    "DocumentMessage": {
        "url": (1, STRING),
        "mime": (2, STRING),
        "title": (3, STRING),
        "sha256": (4, BYTES),
        "length": (5, UINT),
        "page_count": (6, UINT),
        "key": (7, BYTES),
        "file_name": (8, STRING),
        "blob_sha256": (9, BYTES),
        "direct_path": (10, STRING),
        "jpeg_thumbnail": (16, BYTES),
        "context_info": _CONTEXT,
        "caption": (20, STRING),
    },
    "AudioMessage": {
        "url": (1, STRING),
        "mime": (2, STRING),
        "sha256": (3, BYTES),
        "length": (4, UINT),
        "seconds": (5, UINT),
        "ptt": (6, BOOL),
        "key": (7, BYTES),
        "blob_sha256": (8, BYTES),
        "direct_path": (9, STRING),
        "context_info": _CONTEXT,
        "waveform": (19, BYTES),
        "view_once": (21, BOOL),
    },
    "VideoMessage": {
        "url": (1, STRING),
        "mime": (2, STRING),
        "sha256": (3, BYTES),
        "length": (4, UINT),
        "seconds": (5, UINT),
        "key": (6, BYTES),
        "caption": (7, STRING),
        "gif_playback": (8, BOOL),
        "height": (9, UINT),
        "width": (10, UINT),
        "blob_sha256": (11, BYTES),
        "direct_path": (13, STRING),
        "jpeg_thumbnail": (16, BYTES),
        "context_info": _CONTEXT,
        "view_once": (20, BOOL),
    },
    "StickerMessage": {
        "url": (1, STRING),
        "sha256": (2, BYTES),
        "blob_sha256": (3, BYTES),
        "key": (4, BYTES),
        "mime": (5, STRING),
        "height": (6, UINT),
        "width": (7, UINT),
        "direct_path": (8, STRING),
        "length": (9, UINT),
        "is_animated": (13, BOOL),
        "png_thumbnail": (16, BYTES),
        "context_info": _CONTEXT,
    },
    "AlbumMessage": {
        "expected_image_count": (2, UINT),
        "expected_video_count": (3, UINT),
        "context_info": _CONTEXT,
    },
    "StickerPackMessage": {
        "name": (2, STRING),
        "publisher": (3, STRING),
        "stickers": (4, Many("PackedSticker")),
        "context_info": (11, "ContextInfo"),
    },
    "PackedSticker": {"file_name": (1, STRING), "is_animated": (2, BOOL)},
    "EventMessage": {
        "context_info": (1, "ContextInfo"),
        "is_canceled": (2, BOOL),
        "name": (3, STRING),
        "description": (4, STRING),
        "start_time": (7, UINT),
    },
    # What is said of an earlier message
    "PinInChatMessage": {"key": (1, "MessageKey"), "type": (2, UINT), "sender_timestamp_ms": (3, UINT)},
    "ReactionMessage": {"key": (1, "MessageKey"), "text": (2, STRING), "sender_timestamp_ms": (4, UINT)},
    "ProtocolMessage": {
        "key": (1, "MessageKey"),
        "type": (2, UINT),
        "ephemeral_expiration": (4, UINT),
        "history_sync_notification": (6, "HistorySyncNotification"),
        "app_state_sync_key_share": (7, "AppStateSyncKeyShare"),
        "edited_message": (14, "Message"),
        "timestamp_ms": (15, UINT),
    },
    "PollCreationMessage": {
        "name": (2, STRING),
        "options": (3, Many("Option")),
        "selectable_options_count": (4, UINT),
        "context_info": (5, "ContextInfo"),
    },
    "Option": {"option_name": (1, STRING)},
    "PollUpdateMessage": {
        "poll_creation_message_key": (1, "MessageKey"),
        "vote": (2, "PollEncValue"),
        "sender_timestamp_ms": (4, UINT),
    },
    "PollEncValue": {"enc_payload": (1, BYTES), "enc_iv": (2, BYTES)},
    "PollVoteMessage": {"selected_options": (1, Many(BYTES))},
    # What businesses send, and the answers
    "ButtonsMessage": {
        "text": (1, STRING),
        "content_text": (6, STRING),
        "footer_text": (7, STRING),
        "context_info": (8, "ContextInfo"),
        "buttons": (9, Many("Button")),
        "header_type": (10, UINT),
    },
    "Button": {"button_id": (1, STRING), "button_text": (2, "ButtonText"), "type": (3, UINT)},
    "ButtonText": {"display_text": (1, STRING)},
    "ButtonsResponseMessage": {
        "selected_button_id": (1, STRING),
        "selected_display_text": (2, STRING),
        "context_info": (3, "ContextInfo"),
        "type": (4, UINT),
    },
    "ListMessage": {
        "title": (1, STRING),
        "description": (2, STRING),
        "button_text": (3, STRING),
        "list_type": (4, UINT),
        "sections": (5, Many("Section")),
        "footer_text": (7, STRING),
        "context_info": (8, "ContextInfo"),
    },
    "Section": {"title": (1, STRING), "rows": (2, Many("Row"))},
    "Row": {"title": (1, STRING), "description": (2, STRING), "row_id": (3, STRING)},
    "ListResponseMessage": {
        "title": (1, STRING),
        "list_type": (2, UINT),
        "single_select_reply": (3, "SingleSelectReply"),
        "context_info": (4, "ContextInfo"),
        "description": (5, STRING),
    },
    "SingleSelectReply": {"selected_row_id": (1, STRING)},
    "TemplateMessage": {
        "hydrated_four_row_template": (2, "HydratedFourRowTemplate"),
        "context_info": (3, "ContextInfo"),
        "hydrated_template": (4, "HydratedFourRowTemplate"),
        "template_id": (9, STRING),
    },
    "HydratedFourRowTemplate": {
        "hydrated_title_text": (2, STRING),
        "hydrated_content_text": (6, STRING),
        "hydrated_footer_text": (7, STRING),
        "hydrated_buttons": (8, Many("HydratedTemplateButton")),
        "template_id": (9, STRING),
    },
    "HydratedTemplateButton": {
        "quick_reply_button": (1, "HydratedQuickReplyButton"),
        "url_button": (2, "HydratedURLButton"),
        "index": (4, UINT),
    },
    "HydratedQuickReplyButton": {"display_text": (1, STRING), "id": (2, STRING)},
    "HydratedURLButton": {"display_text": (1, STRING), "url": (2, STRING)},
    "TemplateButtonReplyMessage": {
        "selected_id": (1, STRING),
        "selected_display_text": (2, STRING),
        "context_info": (3, "ContextInfo"),
        "selected_index": (4, UINT),
    },
    "InteractiveMessage": {
        "header": (1, "Header"),
        "body": (2, "Body"),
        "footer": (3, "Footer"),
        "native_flow_message": (6, "NativeFlowMessage"),
        "context_info": (15, "ContextInfo"),
    },
    "Header": {"title": (1, STRING)},
    "Body": {"text": (1, STRING)},
    "Footer": {"text": (1, STRING)},
    "NativeFlowMessage": {"buttons": (1, Many("NativeFlowButton")), "message_version": (3, UINT)},
    "NativeFlowButton": {"name": (1, STRING), "button_params_json": (2, STRING)},
    "InteractiveResponseMessage": {
        "body": (1, "Body"),
        "native_flow_response_message": (2, "NativeFlowResponseMessage"),
        "context_info": (15, "ContextInfo"),
    },
    "NativeFlowResponseMessage": {"name": (1, STRING), "params_json": (2, STRING), "version": (3, UINT)},
    # What a phone tells its own linked devices
    "HistorySyncNotification": {
        "sync_type": (6, UINT),
        "chunk_order": (7, UINT),
        "progress": (9, UINT),
        "initial_hist_bootstrap_inline_payload": (11, BYTES),
    },
    "AppStateSyncKeyShare": {"keys": (1, Many("AppStateSyncKey"))},
    "AppStateSyncKey": {"key_id": (1, "AppStateSyncKeyId"), "key_data": (2, "AppStateSyncKeyData")},
    "AppStateSyncKeyId": {"key_id": (1, BYTES)},
    "AppStateSyncKeyData": {
        "key_data": (1, BYTES),
        "fingerprint": (2, "AppStateSyncKeyFingerprint"),
        "timestamp": (3, UINT),
    },
    "AppStateSyncKeyFingerprint": {"raw_id": (1, UINT), "current_index": (2, UINT)},
}
KINDS: Final = family("Content", _TABLES)
"""Every kind of message of the tables, by name."""

Message = KINDS["Message"]
PollVoteMessage = KINDS["PollVoteMessage"]

# A copy for one's own devices. The message in it is bytes: it may be of a kind that nobody knows.
_Copy = Kind("Copy", destination=(1, STRING), message=(2, BYTES))
DeviceSent = Kind("DeviceSent", device_sent=(31, _Copy), message_context_info=(35, BYTES))

# What a phone tells a device that was just linked about earlier chats.
_History = family(
    "History",
    {
        "HistorySync": {
            "sync_type": (1, UINT),
            "conversations": (2, Many("Conversation")),
            "chunk_order": (5, UINT),
            "progress": (6, UINT),
        },
        "Conversation": {"id": (1, STRING), "messages": (2, Many("HistorySyncMsg"))},
        "HistorySyncMsg": {"message": (1, "WebMessageInfo"), "msg_order_id": (2, UINT)},
        "WebMessageInfo": {"key": (1, BYTES), "message": (2, BYTES), "message_timestamp": (3, UINT)},
    },
)
HistorySync = _History["HistorySync"]
MessageKey = KINDS["MessageKey"]

# A business' name, as WhatsApp has verified it.
VerifiedName = Kind("VerifiedName", details=(1, BYTES), signature=(2, BYTES))
VerifiedNameDetails = Kind(
    "VerifiedNameDetails", serial=(1, UINT), issuer=(2, STRING), verified_name=(4, STRING)
)
