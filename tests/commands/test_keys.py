"""What ``seqserve keys`` says to who has mistaken something."""

from click.testing import CliRunner

from service.commands.keys import keys


def test_a_name_is_given_once_and_a_second_key_of_it_is_refused_in_words(tmp_path):
    words = ["add", "acme", "--keys", str(tmp_path / "keys.json"), "--scope", "predict"]
    first, second = (CliRunner().invoke(keys, words) for _ in range(2))
    assert first.exit_code == 0
    assert second.exit_code == 1
    assert second.output == f"Error: There is a key 'acme' in {tmp_path}/keys.json already.\n"


def test_a_rate_without_a_time_is_refused_with_one_that_has_it(tmp_path):
    words = ["add", "acme", "--keys", str(tmp_path / "keys.json"), "--scope", "predict"]
    result = CliRunner().invoke(keys, [*words, "--rate", "100"])
    assert result.exit_code == 2
    assert "expected a count and a time such as 100/s" in result.output
    assert "Value error" not in result.output
