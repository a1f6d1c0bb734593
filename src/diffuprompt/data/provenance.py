"""Where each published data set is described, under which licence it comes, and what its names are.

No addresses: those of the field's data sets die, titles can be searched for. Licences are those
that the authors state with the files; pictures from the web remain their owners'.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What is known of a published data set beside its files.

    Attributes:
        described: authors, title, place and year of the paper.
        licence: as its authors state it.
        names: how class names follow from the files.
    """

    described: str
    licence: str
    names: str


_WNIDS = "of classnames.txt (CLIP's list), by WordNet id"
_OWN_200 = f"{_WNIDS}; only the 200 ids that have a folder"
_UNSTATED = "none stated; for research"

PROVENANCE: dict[str, Provenance] = {
    "imagenet": Provenance(
        described="Deng et al., ImageNet: A Large-Scale Hierarchical Image Database, CVPR 2009; "
        "the 1,000 classes of ILSVRC 2012",
        licence="non-commercial research and education, by registration",
        names=_WNIDS,
    ),
    "caltech101": Provenance(
        described="Fei-Fei, Fergus, Perona, Learning Generative Visual Models from Few Training "
        "Examples, CVPR workshops 2004",
        licence="CC BY 4.0",
        names="of the split file: the folders but BACKGROUND_Google and Faces_easy, four of them "
        "in the singular (airplane, face, leopard, motorbike)",
    ),
    "oxford_pets": Provenance(
        described="Parkhi, Vedaldi, Zisserman, Jawahar, Cats and Dogs, CVPR 2012",
        licence="CC BY-SA 4.0",
        names="the breed in the file name, in lower case",
    ),
    "stanford_cars": Provenance(
        described="Krause, Stark, Deng, Fei-Fei, 3D Object Representations for Fine-Grained "
        "Categorization, ICCV workshops 2013",
        licence="non-commercial research (ImageNet's terms)",
        names="of the split file: the model with its year in front (2012 Audi TTS Coupe)",
    ),
    "oxford_flowers": Provenance(
        described="Nilsback, Zisserman, Automated Flower Classification over a Large Number of "
        "Classes, ICVGIP 2008",
        licence=_UNSTATED,
        names="of the split file, by the official number (cat_to_name.json)",
    ),
    "food101": Provenance(
        described="Bossard, Guillaumin, Van Gool, Food-101: Mining Discriminative Components with "
        "Random Forests, ECCV 2014",
        licence="scientific use; the pictures are Foodspotting's",
        names="the folders",
    ),
    "fgvc_aircraft": Provenance(
        described="Maji, Rahtu, Kannala, Blaschko, Vedaldi, Fine-Grained Visual Classification of "
        "Aircraft, arXiv 1306.5151",
        licence="non-commercial research",
        names="the lines of variants.txt",
    ),
    "sun397": Provenance(
        described="Xiao, Hays, Ehinger, Oliva, Torralba, SUN Database: Large-Scale Scene "
        "Recognition from Abbey to Zoo, CVPR 2010",
        licence=_UNSTATED,
        names="the folders under the letter, reversed (/c/church/indoor is 'indoor church')",
    ),
    "dtd": Provenance(
        described="Cimpoi, Maji, Kokkinos, Mohamed, Vedaldi, Describing Textures in the Wild, "
        "CVPR 2014",
        licence="research",
        names="the folders",
    ),
    "eurosat": Provenance(
        described="Helber, Bischke, Dengel, Borth, EuroSAT: A Novel Dataset and Deep Learning "
        "Benchmark for Land Use and Land Cover Classification, IEEE JSTARS 2019; the RGB version",
        licence="MIT",
        names="of the split file, written out (AnnualCrop is 'Annual Crop Land')",
    ),
    "ucf101": Provenance(
        described="Soomro, Zamir, Shah, UCF101: A Dataset of 101 Human Actions Classes from Videos "
        "in the Wild, arXiv 1212.0402; the middle frame of each video",
        licence=_UNSTATED,
        names="the classes, cut at capitals (ApplyEyeMakeup is 'Apply_Eye_Makeup')",
    ),
    "imagenetv2": Provenance(
        described="Recht, Roelofs, Schmidt, Shankar, Do ImageNet Classifiers Generalize to "
        "ImageNet?, ICML 2019; matched frequency",
        licence="MIT",
        names="of classnames.txt (CLIP's list): folder 0 is its first line",
    ),
    "imagenet_sketch": Provenance(
        described="Wang, Ge, Lipton, Xing, Learning Robust Global Representations by Penalizing "
        "Local Predictive Power, NeurIPS 2019",
        licence="MIT",
        names=_WNIDS,
    ),
    "imagenet_a": Provenance(
        described="Hendrycks, Zhao, Basart, Steinhardt, Song, Natural Adversarial Examples, "
        "CVPR 2021",
        licence="MIT",
        names=_OWN_200,
    ),
    "imagenet_r": Provenance(
        described="Hendrycks et al., The Many Faces of Robustness: A Critical Analysis of "
        "Out-of-Distribution Generalization, ICCV 2021",
        licence="MIT",
        names=_OWN_200,
    ),
}
