"""The small language model and sampling from it: padding, cache, nucleus, ends, and any model called alike."""

import pytest
import torch

import workbench as wb
from workbench.models import generating


@pytest.fixture
def net():
    return wb.models.build("lm", ((16,), 12), width=16, depth=2, seed=3).double().eval()


def test_padding_on_the_left_changes_nothing(net):
    ids = torch.tensor([[3, 4, 5, 6]])
    padded = torch.tensor([[0, 0, 3, 4, 5, 6]])
    there = (padded != 0).long()
    torch.testing.assert_close(net(padded, there).logits[:, 2:], net(ids).logits)
    loss = net(padded, there).logits[:, 2:].square().sum()
    gradients = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


def test_no_token_sees_a_later_one(net):
    one, other = torch.tensor([[3, 4, 5, 6]]), torch.tensor([[3, 4, 9, 9]])
    for mask in (None, torch.ones(1, 4)):
        torch.testing.assert_close(net(one, mask).logits[:, :2], net(other, mask).logits[:, :2])
    assert not torch.equal(net(one).logits[:, 2:], net(other).logits[:, 2:])


def test_the_loss_is_that_of_the_next_token(net):
    ids = torch.tensor([[3, 4, 5]])
    labels = torch.tensor([[-100, 4, -100]])
    expected = -net(ids).logits[0, 0].log_softmax(-1)[4]
    torch.testing.assert_close(net(ids, labels=labels).loss, expected)


def test_the_cache_gives_what_the_whole_gives(net):
    ids = torch.tensor([[0, 0, 3, 4], [5, 6, 7, 8]])
    there = (ids != 0).long()
    new = torch.tensor([[9, 2], [3, 3]])
    first = net(ids, there, use_cache=True)
    both = torch.cat([there, torch.ones(2, 2, dtype=torch.int64)], 1)
    follow = net(new, both, past_key_values=first.past_key_values).logits
    torch.testing.assert_close(follow, net(torch.cat([ids, new], 1), both).logits[:, 4:])


def test_greedy_is_the_argmax_of_the_whole_sequence_each_time(net):
    ids = torch.tensor([[0, 3, 4], [5, 6, 7]])
    there = (ids != 0).long()
    found = net.generate(ids, there, max_new_tokens=5, do_sample=False)
    expected, mask = ids, there
    for _ in range(5):
        expected = torch.cat([expected, net(expected, mask).logits[:, -1:].argmax(-1)], 1)
        mask = torch.cat([mask, torch.ones(2, 1, dtype=torch.int64)], 1)
    assert found.tolist() == expected.tolist()


class Says(torch.nn.Module):
    """Always the same distribution."""

    def __init__(self, p):
        super().__init__()
        self.logits = torch.tensor(p).log()

    def forward(self, input_ids, attention_mask=None):
        return wb.models.lm.CausalOutput(self.logits.expand(*input_ids.shape, -1))


def test_samples_have_the_models_distribution_and_the_nucleus_cuts_it():
    model, many = Says([0.5, 0.3, 0.2]), torch.zeros(20_000, 1, dtype=torch.int64)
    for options, expected in (
        ({}, [0.5, 0.3, 0.2]),
        ({"top_p": 0.6}, [0.625, 0.375, 0.0]),
        ({"top_p": 0.5}, [1.0, 0.0, 0.0]),
        ({"temperature": 0.5}, [0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38]),
    ):
        drawn = generating.generate(model, many, max_new_tokens=1, pad_token_id=9, **options)[:, 1]
        share = torch.bincount(drawn, minlength=3) / len(drawn)
        torch.testing.assert_close(share, torch.tensor(expected), atol=0.015, rtol=0)


def test_a_generator_repeats_its_draws_and_the_global_state_is_left_alone(net):
    ids = torch.tensor([[3, 4]])
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    runs = [
        net.generate(ids, max_new_tokens=8, generator=torch.Generator().manual_seed(seed)).tolist()
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_after_its_end_a_row_is_padding_and_all_ended_rows_stop():
    model = Says([0.0, 0.5, 0.5])
    found = generating.generate(
        model, torch.full((50, 1), 2), max_new_tokens=40, eos_token_id=1, generator=torch.Generator().manual_seed(0)
    )
    for row in found.tolist():
        end = row.index(1)
        assert set(row[end + 1 :]) <= {0}
    assert found.shape[1] < 41


def test_dropout_is_off_while_writing_and_on_again_after():
    net = wb.models.build("lm", ((16,), 12), width=16, depth=2, dropout=0.5)
    assert net.training
    runs = [net.generate(torch.tensor([[3, 4]]), max_new_tokens=8, do_sample=False).tolist() for _ in range(2)]
    assert runs[0] == runs[1]
    assert net.training


def test_it_is_built_from_text_and_from_its_spec():
    data = wb.data.load("instructions", n_train=10, n_test=5)
    net = wb.models.build("lm", data, width=16, depth=1, seed=4)
    assert net.embedding.num_embeddings == len(data.train.vocabulary)
    assert net.context == sum(data.shape)
    again = wb.models.from_spec(net.spec)
    again.load_state_dict(net.state_dict())
    ids = data.train.inputs
    assert torch.equal(again(ids).logits, net(ids).logits)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wb.models.build("mlp", wb.data.load("instructions", n_train=10, n_test=5)), "reads no text"),
        (lambda: wb.models.build("lm", wb.data.load("digits")), "reads text, unlike"),
        (lambda: wb.models.build("lm", ((8,), 5), heads=3), "heads=3 must divide"),
        (lambda: wb.models.build("lm", ((8,), 5), dropout=1.0), "dropout=1.0"),
        (lambda: wb.models.build("lm", ((2,), 5))(torch.zeros(1, 3, dtype=torch.int64)), "reach token 3"),
        (lambda: generating.generate(Says([1.0]), torch.zeros(1, 1), max_new_tokens=0), "max_new_tokens=0"),
        (lambda: generating.generate(Says([1.0]), torch.zeros(1, 1), max_new_tokens=1, top_p=0), "top_p=0"),
    ],
)
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
