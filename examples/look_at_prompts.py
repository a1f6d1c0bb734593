"""See what prompts are near and what a logit rests on: nearest words and maps, on a sheet.

    python examples/look_at_prompts.py [--out DIR]

CoOp with a diffusion model over its prompts is trained a little, then two pictures are looked at
under the learner's own prompts, those generated for the picture, and those of the other picture.
`diffuprompt draw RUN --image FILE` does the same. Everything is written into DIR, by default a
temporary folder that is deleted at the end.
"""

from pathlib import Path

from setting import draw_pictures, run_in_folder

from diffuprompt import Classifier
from diffuprompt.data import load_image
from diffuprompt.jobs import JobConfig, train_job
from diffuprompt.pictures import draw_views, png, text_of, view_pictures


def main(out: Path) -> None:
    """Train, look, draw."""
    pictures = draw_pictures(out / "pictures")
    job = JobConfig(
        data=str(pictures),
        backbone="scenes-clip",  # it knows drawn scenes; for photographs leave this out
        learner="coop",
        generator="diffusion",
        shots=2,
        overrides=("train.epochs=5", "views=1", "fit.epochs=2"),  # leave this out for good prompts
        runs_dir=out / "runs",
    )
    model = Classifier.from_pretrained(train_job(job))
    names = ("red star", "blue circle")
    images = [load_image(pictures / name / "0.png") for name in names]
    views = view_pictures(model.artifact, images, names=names, most=2)
    for name, view in zip(names, views, strict=True):
        print(text_of(view, f"a picture of a {name}"))
    (out / "views.png").write_bytes(png(draw_views(views, names)))
    print("drawn: views.png")


if __name__ == "__main__":
    run_in_folder(main, __doc__)
