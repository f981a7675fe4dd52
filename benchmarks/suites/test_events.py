"""ClickHouse: rows are inserted, and nobody else's are there."""


def test_two_events(client, turn):
    client.insert("events", [[1, "a"], [2, "b"]], column_names=["id", "name"])
    assert client.query("SELECT count() FROM events").result_rows == [(2,)]
