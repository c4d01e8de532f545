"""Templates and apps: what marketers can pick on a channel."""

from typing import Any

from optirelay.simulator.calls.call import Call, Told
from optirelay.simulator.errors import Refused
from optirelay.simulator.fields import Fields, read_array, read_number
from optirelay.simulator.world import Template

# Most that one call takes: the older documentation (github nicolasramy/optimove).
MAX_TEMPLATES = 100
MAX_APPS = 100


def add_channel_templates(told: Told) -> None:
    """All of them or none; the channel stands in the query (github nicolasramy/optimove)."""
    known = told.tenant.templates[told.channel_in_query()]
    new: dict[int, Template] = {}
    for row in read_array(told.body, MAX_TEMPLATES, "templates"):
        fields = Fields(row)
        template_id = fields.number("TemplateID")
        if told.world.quirks.known_template == "error" and (template_id in known or template_id in new):
            raise Refused(f"TemplateID {template_id} already exists.")
        new[template_id] = Template(fields.text("TemplateName"), fields.text_or_none("AppID"))
    known.update(new)


def delete_channel_templates(told: Told) -> None:
    """All of them or none; here each row names its channel (github nicolasramy/optimove)."""
    gone = []
    for row in read_array(told.body, MAX_TEMPLATES, "templates"):
        fields = Fields(row)
        channel_id = told.channel(fields.number("ChannelID"))
        template_id = fields.number("TemplateID")
        told.check_there(template_id in told.tenant.templates[channel_id], f"TemplateID {template_id}")
        gone.append((channel_id, template_id))
    for channel_id, template_id in gone:
        told.tenant.templates[channel_id].pop(template_id, None)


def get_channel_templates(told: Told) -> list[dict[str, Any]]:
    """What marketers can pick on the channel (github nicolasramy/optimove)."""
    return [
        {"TemplateID": told.world.quirks.wire_id(number), "TemplateName": template.name}
        for number, template in told.tenant.templates[told.channel_in_query()].items()
    ]


def get_channel_template_details(told: Told) -> list[dict[str, Any]]:
    """One template (a public connector in Apex). What a partner's own has for content is not known; here nothing."""
    template_id = read_number(told.request, "TemplateID")
    template = told.tenant.templates[told.channel_in_query()].get(template_id)
    if template is None:
        return []
    return [
        {
            "TemplateID": told.world.quirks.wire_id(template_id),
            "TemplateName": template.name,
            "TemplateContent": "",
            "TemplateAttributes": [],
        }
    ]


def add_channel_apps(told: Told) -> None:
    """All of them or none; a known AppID gets the new name (github nicolasramy/optimove)."""
    known = told.tenant.apps[told.channel_in_query()]
    rows = [Fields(row) for row in read_array(told.body, MAX_APPS, "apps")]
    known.update({fields.text("AppID"): fields.text("AppName") for fields in rows})


def delete_channel_apps(told: Told) -> None:
    """All of them or none; each row names its channel (github nicolasramy/optimove)."""
    gone = []
    for row in read_array(told.body, MAX_APPS, "apps"):
        fields = Fields(row)
        channel_id, app_id = told.channel(fields.number("ChannelID")), fields.text("AppID")
        told.check_there(app_id in told.tenant.apps[channel_id], f"AppID {app_id}")
        gone.append((channel_id, app_id))
    for channel_id, app_id in gone:
        told.tenant.apps[channel_id].pop(app_id, None)


CALLS = (
    Call("POST", "integrations", "AddChannelTemplates", add_channel_templates, "templates"),
    Call("POST", "integrations", "DeleteChannelTemplates", delete_channel_templates, "templates"),
    Call("GET", "integrations", "GetChannelTemplates", get_channel_templates),
    Call("GET", "integrations", "GetChannelTemplateDetails", get_channel_template_details),
    Call("POST", "integrations", "AddChannelApps", add_channel_apps, "apps"),
    Call("POST", "integrations", "DeleteChannelApps", delete_channel_apps, "apps"),
)
