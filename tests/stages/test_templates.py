import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optirelay.model import ChannelKind, TemplateContent, TemplateId
from optirelay.stages.templates import (
    BadTemplateFile,
    TemplateFile,
    read_directory,
    read_template_file,
    unknown_names,
)

FULL = """---
id: 17                       # Optimove's TemplateID
name: Welcome back
channel: newsletter
subject: "Hello {{ FIRST_NAME | default: 'there' }}"
from: "Acme <news@acme.example>"
required: [FIRST_NAME]
---
<p>Hello {{ FIRST_NAME }}</p>
---
<p>Bye</p>
"""


NEWSLETTER = {"newsletter": ChannelKind.EMAIL}
KINDS = {kind.value: kind for kind in ChannelKind}  # a channel of each


def template(front: str = "", body: str = "<p></p>", **fields: str) -> bytes:
    given = {"id": "17", "name": "Welcome", "channel": "newsletter", "subject": "Hello"} | fields
    lines = "".join(f"{key}: {value}\n" for key, value in given.items() if value)
    return f"---\n{lines}{front}---\n{body}".encode()


def faults_of(source: bytes, plain: bytes | None = None) -> tuple[str, ...]:
    with pytest.raises(BadTemplateFile) as caught:
        read_template_file("welcome.liquid", source, plain)
    assert str(caught.value) == "\n".join(caught.value.faults)
    return caught.value.faults


def test_a_file_is_front_matter_and_a_body() -> None:
    assert read_template_file("welcome.liquid", FULL.encode(), None) == TemplateFile(
        key="welcome",
        template_id=TemplateId(17),
        name="Welcome back",
        channels=("newsletter",),
        content=TemplateContent(
            subject="Hello {{ FIRST_NAME | default: 'there' }}",
            html="<p>Hello {{ FIRST_NAME }}</p>\n---\n<p>Bye</p>\n",
            sender="Acme <news@acme.example>",
            required=("FIRST_NAME",),
        ),
    )


def test_windows_line_ends_and_a_byte_order_mark_change_nothing() -> None:
    windows = b"\xef\xbb\xbf" + FULL.replace("\n", "\r\n").encode()
    assert read_template_file("a.liquid", windows, None) == read_template_file("a.liquid", FULL.encode(), None)


def test_a_text_beside_it_is_the_text_part() -> None:
    assert read_template_file("a.liquid", template(), b"Hello\r\n").content.text == "Hello\n"


def test_a_template_may_belong_to_several_channels() -> None:
    assert read_template_file("a.liquid", template(channel="[b, a, b]"), None).channels == ("b", "a")


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (template(id=""), "welcome.liquid: id is missing; add it"),
        (template(name=""), "name is missing"),
        (template(channel=""), "channel is missing"),
        (template(id="0"), "line 2: id must be a whole number from 1 to 2147483647"),
        (template(id="2147483648"), "id must be a whole number"),
        (template(id="true"), "id must be a whole number"),
        (template(id="'17'"), "id must be a whole number"),
        (template(name="2031"), "line 3: name must be text; put it in quotes"),
        (template(name="' '"), "name is empty"),
        (template(name='"a\\nb"'), "name must be one line"),
        (template(name='"a\\0b"'), "name must be one line"),
        (template(name='"\\ud800"'), "name holds half a character"),
        (template(channel="[]"), "line 4: channel must be the name of a channel"),
        (template(channel="{a: b}"), "channel must be the name of a channel"),
        (template(channel="[1]"), "channel must be text"),
        (template(subject="[a]"), "line 5: subject must be text"),
        (template(subject="{{ X }}"), "no YAML .* put values with special characters in quotes"),
        (template("from: ''\n"), "line 6: from is empty"),
        (template("required: FIRST_NAME\n"), "line 6: required must be a list of names"),
        (template("required: [1]\n"), "required must be text"),
        (template("app: 3\n"), "line 6: app must be text; put it in quotes"),
        (template("chanel: x\n"), 'line 6: chanel is not known; did you mean "channel"'),
        (template("id: 18\n"), "line 6: id is there twice; remove one"),
        (template("1: 2\n"), "line 6: 1 is not known"),
        (template("from: &a x\n"), "line 6: & and \\* are not supported"),
        (template("from: *a\n"), "line 6: & and \\* are not supported"),
        (template("from: !!python/object:os.system x\n"), "line 6: it is no YAML"),
        (template("from: [a\n"), "line 6: it is no YAML"),
        (template("from: 2031-99-99\n"), "front matter is no YAML that can be read"),
        (template("a: b: c\n"), "line 6: it is no YAML"),
        (template(f"from: {'x' * 66_000}\n"), "front matter is larger than 65,536 bytes"),
        (template(body=" \n"), "line 6: nothing follows the front matter"),
        (template(body="x" * (1 << 20)), "bytes are too many; make it at most 1,048,576"),
        (template(body="a\n\0"), "line 8: it holds a NUL"),
        (template(body="") + b"a\n\xff", "line 8: it is not UTF-8; save it as UTF-8"),
        (b"", "line 1: there is no front matter"),
        (b"<p>Hi</p>\n---\nid: 1\n---\n", "line 1: there is no front matter"),
        (b"---\nid: 1\n<p></p>", "front matter has no end"),
        (b"---\n---\nbody", "front matter has no fields"),
        (b"---\n- a\n---\nbody", "front matter has no fields"),
    ],
)
def test_a_fault_says_file_place_and_mend(source: bytes, fault: str) -> None:
    faults = faults_of(source)
    assert any(re.search(fault, told) for told in faults), faults
    assert all(told.startswith("welcome.liquid") and told.endswith(".") for told in faults)
    assert all(re.search(r"[;?]", told) for told in faults), "no mend"


def test_all_faults_of_a_file_are_told_at_once() -> None:
    assert len(faults_of(template("colour: red\n", id="x", name="", body=" "), plain=b" ")) == 5


@pytest.mark.parametrize(
    ("plain", "fault"), [(b"\n", "is empty"), (b"\xff", "not UTF-8"), (b"x" * (2 << 20), "too many")]
)
def test_a_fault_in_the_text_names_the_text(plain: bytes, fault: str) -> None:
    [told] = faults_of(template(), plain)
    assert told.startswith("welcome.txt")
    assert fault in told


@pytest.mark.parametrize("front", ["[" * 60_000, "{a: " * 15_000, "- " * 30_000, "? " * 30_000, "a: " + '"' * 60_000])
@pytest.mark.timeout(30)  # read without care some of them take a minute
def test_a_hostile_front_matter_is_told(front: str) -> None:
    assert faults_of(f"---\n{front}\n---\nbody".encode())


@given(front=st.text(max_size=200), body=st.text(max_size=50), known=st.booleans())
@settings(max_examples=200, deadline=None)
def test_whatever_a_file_holds_it_is_a_template_or_a_fault(front: str, body: str, known: bool) -> None:
    source = template(front + "\n", body) if known else f"---\n{front}\n---\n{body}".encode()
    try:
        read = read_template_file("a.liquid", source, None)
    except BadTemplateFile as bad:
        assert bad.faults  # noqa: PT017  # either is right
        str(bad).encode()
    else:
        assert read.content.html.strip()


# Directories


def test_a_directory_is_its_templates_by_key() -> None:
    files = {"b.liquid": template(id="2"), "a.liquid": template(id="1"), "a.txt": b"text", "README.md": b"\xff"}
    read = read_directory(files, NEWSLETTER)
    assert [(file.key, file.template_id, file.content.text) for file in read] == [("a", 1, "text"), ("b", 2, None)]


def test_all_faults_of_all_files_are_told_at_once() -> None:
    files = {
        "a.liquid": template(id="1"),
        "b.liquid": template(id="1"),
        "c.liquid": template(id="3", channel="newsleter"),
        "d.liquid": b"nothing",
        "e.txt": b"text",
        "f.liquid": template(id="1", channel="[other, newsletter]"),
        "g.liquid": template(id="4", subject="", channel="[other, newsletter]"),
        "h.liquid": template(id="5", channel="[other]"),
        "h.txt": b"text",
    }
    with pytest.raises(BadTemplateFile) as caught:
        read_directory(files, {**NEWSLETTER, "other": ChannelKind.SMS})
    assert caught.value.faults == (
        "d.liquid, line 1: there is no front matter; put id, name … between two lines ---.",
        "e.txt: there is no e.liquid that it is the text of; add that, or remove the file.",
        'c.liquid: the tenant has no channel "newsleter"; did you mean "newsletter"? its channels: newsletter, other.',
        "g.liquid: subject is missing, which newsletter (email) needs; add it to the front matter.",
        "h.txt: no channel of h.liquid carries e-mail, which alone has a text beside its body; remove the file.",
        "a.liquid, b.liquid, f.liquid: all have id 1 in newsletter; give each an id of its own.",
    )


def test_the_same_id_in_two_channels_is_two_templates() -> None:
    files = {"a.liquid": template(channel="one"), "b.liquid": template(channel="two")}
    assert len(read_directory(files, {"one": ChannelKind.EMAIL, "two": ChannelKind.EMAIL})) == 2


@pytest.mark.parametrize(
    ("channel", "needed"),
    [("email", True), ("push", True), ("sms", False), ("inapp", False), ("[sms, inapp]", False), ("[sms, push]", True)],
)
@pytest.mark.parametrize("subject", ["", "''"])
def test_a_subject_is_needed_where_a_channel_shows_one(channel: str, subject: str, *, needed: bool) -> None:
    files = {"a.liquid": template(channel=channel, subject=subject)}
    if needed:
        with pytest.raises(BadTemplateFile, match="subject is missing"):
            read_directory(files, KINDS)
    else:
        assert read_directory(files, KINDS)[0].content.subject == ""


@pytest.mark.parametrize("channel", ["sms", "push", "inapp", "[sms, push]"])
def test_a_text_beside_what_is_no_mail_is_a_fault(channel: str) -> None:
    files = {"a.liquid": template(channel=channel), "a.txt": b"text"}
    with pytest.raises(BadTemplateFile, match=r"^a\.txt: no channel of a\.liquid carries e-mail"):
        read_directory(files, KINDS)
    files["a.liquid"] = template(channel=f"[email, {channel.strip('[]')}]")
    assert read_directory(files, KINDS)[0].content.text == "text"


def test_a_sender_id_is_any_line() -> None:
    files = {"a.liquid": template("from: ACME {{ SHOP }}\n", channel="sms")}
    assert read_directory(files, KINDS)[0].content.sender == "ACME {{ SHOP }}"


APPS = {"push": ["ios-main", "android"]}


@pytest.mark.parametrize(
    ("channel", "app", "fault"),
    [
        ("push", "ios-main", ""),
        ("[sms, push]", "android", ""),
        (
            "push",
            "ios-man",
            'channel push has no app "ios-man"; did you mean "ios-main"? its apps in the settings: ios-main',
        ),
        ("[email, sms]", "ios-main", "no channel of it is a push channel, which alone has apps; remove app."),
        ("unheard", "ios-main", 'the tenant has no channel "unheard"'),
    ],
)
def test_an_app_is_one_of_the_push_channels_own(channel: str, app: str, fault: str) -> None:
    files = {"a.liquid": template(f"app: {app}\n", channel=channel)}
    if fault:
        with pytest.raises(BadTemplateFile) as caught:
            read_directory(files, KINDS, APPS)
        (told,) = caught.value.faults
        assert fault in told
    else:
        assert read_directory(files, KINDS, APPS)[0].content.app == app


def test_names_that_are_neither_known_nor_built_in_are_unknown() -> None:
    used = ["FIRST_NAME", "first_name", "customer_id", "campaign_id", "promo_codes", "unsubscribe_url", "A"]
    assert unknown_names(used, ["FIRST_NAME"]) == ["A", "first_name"]
