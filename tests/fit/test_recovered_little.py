"""What `recover` says of a student beside its figures."""

import pytest

from edgewright.fit.recover import LEARNED_LITTLE, _shortfall


@pytest.mark.parametrize(("agreement", "told"), [(LEARNED_LITTLE - 0.01, 1), (LEARNED_LITTLE, 0), (1.0, 0)])
def test_a_student_that_learned_little_is_told_what_to_do(agreement, told):
    sentences = list(_shortfall(agreement))
    assert len(sentences) == told
    assert all("--effort" in sentence and f"{agreement:.2f}" in sentence for sentence in sentences)
