"""The published lists, by the facts that pin their order."""

from diffuprompt.clip.templates import ENSEMBLES, IMAGENET_80, SINGLE


def test_published_lists() -> None:
    assert {name: len(ensemble) for name, ensemble in ENSEMBLES.items()} == {
        "single": 1,
        "imagenet-7": 7,
        "imagenet-80": 80,
        "promptsrc-60": 60,
    }
    everything = [t for e in ENSEMBLES.values() for t in e]
    assert all(t.count("{}") == 1 for t in everything)
    assert all(len(set(e)) == len(e) for e in ENSEMBLES.values())
    assert set(ENSEMBLES["imagenet-7"]) < set(IMAGENET_80)
    # PromptSRC's list starts with the plain sentence and ends here
    assert ENSEMBLES["promptsrc-60"][0] == SINGLE
    assert ENSEMBLES["promptsrc-60"][1] == IMAGENET_80[0]
    assert ENSEMBLES["promptsrc-60"][-1] == "itap of the {}."
