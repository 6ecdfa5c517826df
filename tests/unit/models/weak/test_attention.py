import pytest
import torch

from qpbridge.models.backbones.residual import light_parts
from qpbridge.models.weak.attention import Classifier, attention_threshold, dropout_attention


def test_the_threshold_falls_after_every_epoch_to_its_least() -> None:
    assert [attention_threshold(epoch) for epoch in range(3)] == [None] * 3
    assert attention_threshold(3) == pytest.approx(0.98**3)
    assert attention_threshold(10) == pytest.approx(0.8171, abs=5e-5)
    assert attention_threshold(20) == pytest.approx(0.6676, abs=5e-5)
    assert attention_threshold(22) == attention_threshold(1000) == pytest.approx(0.98**22)
    assert 0.64 < 0.98**22 <= 0.65 < 0.98**21


def test_attention_leaves_out_where_a_class_shows_most() -> None:
    maps = torch.tensor([[[-1.0, 1.0, 7.0, 10.0]], [[2.0, 4.0, 3.0, 0.0]]])[None]

    assert dropout_attention(maps, 1.0).flatten().tolist() == [1, 2.5, 5, 5]
    assert dropout_attention(maps, 0.75).flatten().tolist() == [1, 0.5, 5, 0]
    assert dropout_attention(maps, 0.65).flatten().tolist() == [1, 0.5, 0, 0]


def test_attention_is_of_each_image_on_its_own() -> None:
    maps = torch.randn(3, 4, 5, 5)

    apart = torch.cat([dropout_attention(one[None], 0.7) for one in maps])
    assert torch.equal(dropout_attention(maps, 0.7), apart)


def test_the_gradient_flows_through_the_attention_too() -> None:
    maps = torch.rand(1, 2, 4, 4, requires_grad=True)

    dropout_attention(maps, 0.8).sum().backward()

    assert maps.grad is not None
    assert ((maps.grad > 0) == (maps <= 0.8 * maps.amax((2, 3), keepdim=True))).all()


@pytest.mark.parametrize("threshold", [None, 0.7])
def test_the_gradient_reaches_every_parameter(threshold: float | None) -> None:
    torch.manual_seed(0)
    classifier = Classifier(light_parts(4), 32, 3)

    logits = classifier(torch.rand(4, 3, 48, 40), threshold)
    logits.square().sum().backward()

    assert logits.shape == (4, 3)
    assert [n for n, p in classifier.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@torch.no_grad()
def test_attention_changes_what_is_judged() -> None:
    torch.manual_seed(0)
    classifier, x = Classifier(light_parts(4), 32, 3).eval(), torch.rand(1, 3, 32, 32)

    plain, whole, part = classifier(x), classifier(x, 1.0), classifier(x, 0.7)

    assert not torch.allclose(plain, whole)
    assert not torch.allclose(whole, part)


@torch.no_grad()
def test_only_what_is_tagged_is_judged() -> None:
    torch.manual_seed(0)
    classifier, x = Classifier(light_parts(4), 32, 3).eval(), torch.rand(2, 3, 64, 64)
    tagged = torch.zeros(2, 64, 64, dtype=torch.bool)
    tagged[:, 16:48, 8:40] = True

    found = classifier(x, None, tagged)

    features = x
    for part in classifier.parts:
        features = part(features)
    torch.testing.assert_close(found, classifier.judged(features[:, :, 2:6, 1:5]))
    torch.testing.assert_close(classifier(x, 0.7, torch.ones_like(tagged)), classifier(x, 0.7))
    assert torch.equal(classifier(x, None, torch.zeros_like(tagged)), torch.zeros(2, 3))
