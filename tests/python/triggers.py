"""The triggers' database, and the two services between which a trigger carries items.

Everything both the WAMP components (rss.py, evernote.py) and the web application
(evernote_web.py) need, without a word of WAMP or HTTP.
"""

import sqlite3
import xml.etree.ElementTree

SCHEMA = """
create table triggers (id integer primary key, user_id integer, active integer, due text, description text);
create table feeds (trigger_id integer, name text, path text);
create table notebooks (trigger_id integer, notebook text, tag text);
create table services (user_id integer, service text, token text);
create table notes (user_id integer, trigger_id integer, notebook text, tag text, token text, title text, link text);
"""


def open_database(path):
    return sqlite3.connect(path, isolation_level=None)  # autocommit


def fill_database(path, feed):
    """Make a database with one due trigger, one that is switched off and one in the future."""
    db = open_database(path)
    db.executescript(SCHEMA)
    db.executemany("insert into triggers values (?, ?, ?, ?, ?)", [
        (1, 7, 1, "2014-12-29", "news to notes"),
        (2, 7, 0, "2014-12-29", "switched off"),
        (3, 8, 1, "9999-01-01", "not yet"),
    ])
    db.executemany("insert into feeds values (?, 'a feed', ?)", [(1, feed), (2, feed), (3, feed)])
    db.execute("insert into notebooks values (1, 'Reading', 'rss')")
    db.execute("insert into services values (7, 'evernote', 'token-of-7')")
    db.close()


def read_feed(path):
    """The items of an RSS file."""
    channel = xml.etree.ElementTree.parse(path).getroot().find("channel")
    return [{field: item.findtext(field) for field in ("title", "link", "description")}
            for item in channel.findall("item")]


def due_feeds(db):
    """What the active triggers that are due have to say, with whose they are."""
    rows = db.execute("""select t.id, t.user_id, f.path from feeds f join triggers t on t.id = f.trigger_id
                         where t.active and t.due <= date('now') order by t.due desc""")
    return [{"trigger_id": trigger, "user_id": user, "data": read_feed(path)} for trigger, user, path in rows]


def token_of(db, user_id):
    """The user's token, as a row of one column; None for a user without one."""
    row = db.execute("select token from services where service = 'evernote' and user_id = ?", [user_id]).fetchone()
    return list(row) if row else None


def trigger_of(db, trigger_id):
    """Where the trigger's notes go."""
    row = db.execute("""select n.notebook, n.tag, t.description from notebooks n
                        join triggers t on t.id = n.trigger_id where t.id = ?""", [trigger_id]).fetchone()
    return dict(zip(("notebook", "tag", "description"), row)) if row else None


def save_note(db, stuff, token, trigger):
    """Write down one item for its user."""
    item = stuff["item"]
    db.execute("insert into notes values (?, ?, ?, ?, ?, ?, ?)",
               [stuff["user_id"], stuff["trigger_id"], trigger["notebook"], trigger["tag"], token,
                item["title"], item["link"]])


def notes_of(db, user_id):
    """What was written down for the user."""
    columns = ("notebook", "tag", "token", "title", "link")
    rows = db.execute("select " + ", ".join(columns) + " from notes where user_id = ?", [user_id])
    return [dict(zip(columns, row)) for row in rows]
