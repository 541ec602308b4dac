"""What businesses send: buttons and lists, and the answers to them."""

from __future__ import annotations

import json

from orchestrator.sandbox.server.drafts import Desk, Draft, Fields, given_texts
from orchestrator.sandbox.server.fields import Field


def _choices(given: Field, name: str) -> list[tuple[str, str]]:
    """Return ids and texts of what can be chosen: given as texts, or as objects with id and text."""
    value = given.body.get(name)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return [(f"{name}-{number}", text) for number, text in enumerate(given.texts(name), 1)]
    return [(item.text("id"), item.text("text")) for item in given.items(name)]


def buttons(given: Field, _: Desk) -> Draft:
    """Build a message with buttons."""
    buttons = [
        {"button_id": id_, "button_text": {"display_text": text}, "type": 1}
        for id_, text in _choices(given, "buttons")
    ]
    part: Fields = {"content_text": given.text("text"), "buttons": buttons, "header_type": 1}
    part |= {f"{name}_text": value for name, value in given_texts(given, "footer").items()}
    if title := given.words("title"):
        part |= {"text": title, "header_type": 2}
    return Draft({"buttons": part}, "text")


def buttons_response(given: Field, _: Desk) -> Draft:
    """Build what pressing a button sends."""
    chosen = {"selected_button_id": given.text("choice"), "selected_display_text": given.text("text")}
    return Draft({"buttons_response": {**chosen, "type": 1}}, "text")


def list_of_choices(given: Field, _: Desk) -> Draft:
    """Build a message with a list to choose from."""
    rows = [{"row_id": id_, "title": text} for id_, text in _choices(given, "rows")]
    part: Fields = {
        "title": given.words("title"),
        "description": given.text("text"),
        "button_text": given.optional("button") or "Choose",
        "list_type": 1,
        "sections": [{"title": given.words("section"), "rows": rows}],
    }
    part |= {f"{name}_text": value for name, value in given_texts(given, "footer").items()}
    return Draft({"list": part}, "media", media_type="list")


def list_response(given: Field, _: Desk) -> Draft:
    """Build what a choice from a list sends."""
    reply = {"selected_row_id": given.text("choice")}
    part = {"title": given.text("text"), "list_type": 1, "single_select_reply": reply}
    return Draft({"list_response": part}, "media", media_type="list_response")


def template(given: Field, _: Desk) -> Draft:
    """Build a message of a template."""
    buttons = [
        {"quick_reply_button": {"id": id_, "display_text": text}, "index": index}
        for index, (id_, text) in enumerate(_choices(given, "buttons"))
    ]
    template: Fields = {"hydrated_content_text": given.text("text"), "hydrated_buttons": buttons}
    template |= {
        f"hydrated_{name}_text": value for name, value in given_texts(given, "title", "footer").items()
    }
    return Draft({"template": {"hydrated_template": template}}, "text")


def template_response(given: Field, _: Desk) -> Draft:
    """Build what pressing a template's button sends."""
    part = {"selected_id": given.text("choice"), "selected_display_text": given.text("text")}
    return Draft({"template_button_reply": part}, "text")


def interactive(given: Field, _: Desk) -> Draft:
    """Build a message with buttons of the newest form."""
    buttons = [
        {"name": "quick_reply", "button_params_json": json.dumps({"display_text": text, "id": id_})}
        for id_, text in _choices(given, "buttons")
    ]
    part: Fields = {
        "body": {"text": given.text("text")},
        "native_flow_message": {"buttons": buttons, "message_version": 1},
    }
    if title := given.words("title"):
        part["header"] = {"title": title}
    if footer := given.words("footer"):
        part["footer"] = {"text": footer}
    return Draft({"interactive": part}, "text")


def interactive_response(given: Field, _: Desk) -> Draft:
    """Build what pressing such a button sends."""
    flow = {"name": "quick_reply", "params_json": json.dumps({"id": given.text("choice")}), "version": 1}
    part = {"body": {"text": given.text("text")}, "native_flow_response_message": flow}
    return Draft({"interactive_response": part}, "text")
