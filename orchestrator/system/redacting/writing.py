"""Finds what people write: messages, names, e-mail addresses, file names, and what stanzas carry. Pure."""

from __future__ import annotations

import re

from orchestrator.system.masking import ELLIPSIS

_TAG = re.compile(
    r"</?([A-Za-z][\w:.-]*+)((?:\s++[A-Za-z][\w:.-]*+=\"[^\"]*+\")*+)\s*+(/?)>|<!-- [0-9]++ bytes -->"
)
_CLOSING = re.compile(r"</([A-Za-z][\w:.-]*+)>")
_ATTRIBUTE = re.compile(r"([A-Za-z][\w:.-]*+)=\"([^\"]*+)\"")
_PLAIN_ATTRIBUTES = re.compile(
    # Those whose values are addresses, numbers and WhatsApp's own words, not people's.
    "abprops|addressing_mode|auth_ttl|background|backoff|biz_bot|category|class|code|context|count|"
    "creation|creator|creator_pn|device|e|edit|error|expiration|expire|from|hash|hostname|id|index|jid|"
    "key-index|last|lid|location|max_buckets|mode|offline|participant|participant_lid|participant_pn|"
    "peer_recipient_lid|peer_recipient_pn|phash|phone_number|platform|pn_jid|props|reason|recipient|"
    "recipient_lid|recipient_pn|retry|s_o|s_t|sender_lid|sender_pn|should_show_push_notification|sid|"
    "size|stage|state|status|t|target_id|text|timeout|timestamp|to|ts|ttl|type|v|val|value|version|"
    "xmlns"
)
_QUOTED = re.compile(r":\s?\\?[\"']")
_FIELD = re.compile(
    r"(?i)(?<![a-z])((?:body|caption|contentText|conversation|description|displayName|fileName|footer|footerText|"
    r"fullName|firstName|hydratedContentText|matchedText|notify|pushName|subject|text|title|vcard|"
    r"verifiedName)\\?[\"']?:\s?)"
    r"(?:(\")[^\"\\]*+(?:\\.[^\"\\]*+)*+|(')[^'\\]*+(?:\\.[^'\\]*+)*+|(\\\")[^\\]*+(?:\\(?!\")[^\\]*+)*)",
    re.DOTALL,
)
_NAME = re.compile(r"((?:Push|Business) name of \S++ changed from |Got push name ).*+", re.DOTALL)


def _mask_attributes(match: re.Match[str]) -> str:
    name, value = match.groups()
    if _PLAIN_ATTRIBUTES.fullmatch(name) and len(value) <= 80 and " " not in value:
        return match[0]
    return f'{name}="{ELLIPSIS}"' if value else match[0]


def _mask_stanzas(text: str) -> str:
    """Keep of stanzas, the library's XML, the tags with harmless attributes: all else may be a message.

    What lies between the tags is not escaped, so a message can have something like tags in it. Until the
    first tag is closed again, or to the end of the text, nothing but tags is therefore kept.
    """
    closed = frozenset(_CLOSING.findall(text))
    parts: list[str] = []
    at = depth = 0
    for tag in _TAG.finditer(text):
        whole, name, attributes, empty = tag[0], tag[1], tag[2], tag[3]
        between = text[at : tag.start()]
        parts.append(ELLIPSIS if depth and between else between)
        at = tag.end()
        if whole.startswith("</"):
            depth = max(0, depth - 1)
        elif name and not empty and (depth or attributes or name in closed):
            depth += 1
        parts.append(_ATTRIBUTE.sub(_mask_attributes, whole) if attributes else whole)
    rest = text[at:]
    parts.append(ELLIPSIS if depth and rest else rest)
    return "".join(parts)


# Of a Go structure without quotes, a text goes on to the next field or to the end of the structure.
_BARE_FIELD = re.compile(
    r"((?<![A-Za-z])(?:(?i:push_?name|full_?name|first_?name|display_?name|business_?name|verified_?name|file_?name)"
    r"|Conversation|Caption|Text|Title|Subject|Topic|Body|Description|Notify|MatchedText)[:=])(?=[^\s\"'\\…<{\[&])"
)
_NAME_IN_LINE = re.compile(
    r"((?<![A-Za-z])(?i:push|business|verified|display|full|first)[_ -]?(?i:name)\s?[:=]\s{0,2})"
    r"(?=[^\s\"'\\…<{\[])"
    r"|((?<![A-Za-z])(?i:file)[_ -]?(?i:name)\s?[:=]\s{1,2})(?=[^\s\"'\\…<{\[])"
)
_MARKS = (
    "name", "conversation", "caption", "text", "title", "subject", "topic", "body", "description", "notify",
)  # fmt: skip
"""One of these is in every text in which the patterns for fields find anything."""
_NEXT_FIELD = re.compile(r"\s[A-Za-z_]++[:=]|[}\]&;\r\n]|,\s")
_QUOTED_FIELD = re.compile(
    r"(?i)((?<![a-z])(?:push_?name|full_?name|first_?name|display_?name|business_?name|verified_?name|file_?name|caption"
    r"|conversation)\*?\s?=>?\s?\\?)(?:(\")[^\"\\]*+(?:\\.[^\"\\]*+)*+|(')[^'\\]*+(?:\\.[^'\\]*+)*+)",
    re.DOTALL,
)
_MAIL = re.compile(r"(?<![\w.+…*-])([\w.+-]++|\"[^\"\r\n@]{1,64}\")(@|%40)([\w-]++(?:\.[\w-]++)++)(?!@)")
_NO_MAIL = re.compile(
    r"(?i)(?:.*\.)?(?:whatsapp\.net|c\.us|g\.us|hosted\.lid)|.*\.(?:service|socket|timer|target|slice|scope|mount|path|automount|device|swap)"
)


def mask_writing(text: str) -> str:
    """Return a text without messages, names and file names."""
    if "<" in text and ('="' in text or "</" in text or "/>" in text):
        text = _mask_stanzas(text)
    if ":" in text and _QUOTED.search(text):
        text = _FIELD.sub(rf"\1\2\3\4{ELLIPSIS}", text)
    lower = text.lower()
    if (":" in text or "=" in text) and any(mark in lower for mark in _MARKS):
        text = _QUOTED_FIELD.sub(rf"\1\2\3{ELLIPSIS}", text)
        text = _mask_fields(text, _BARE_FIELD)
        text = _mask_fields(text, _NAME_IN_LINE)
    if " name " in text:
        text = _NAME.sub(rf"\1{ELLIPSIS}", text)
    return text


def mask_mail(text: str) -> str:
    """Return a text without the names in e-mail addresses."""
    return _MAIL.sub(_mask_mail, text) if "@" in text or "%40" in text else text


def _mask_mail(match: re.Match[str]) -> str:
    last = match[3].rpartition(".")[2]
    if len(last) < 2 or not last.isalpha() or _NO_MAIL.fullmatch(match[3]):
        return match[0]
    return f"{ELLIPSIS}{match[2]}{match[3]}"


def _mask_fields(text: str, pattern: re.Pattern[str]) -> str:
    parts: list[str] = []
    at = 0
    for match in pattern.finditer(text):
        if match.start() < at:
            continue
        end = _NEXT_FIELD.search(text, match.end())
        parts += [text[at : match.end()], ELLIPSIS]
        at = end.start() if end else len(text)
    return "".join([*parts, text[at:]]) if parts else text
