"""What every suite on Redis runs: a key is written, and nobody else's is there."""


def test_one_key(client, turn):
    assert client.dbsize() == 0
    client.set("name", "ada")
    assert client.get("name") == b"ada"
