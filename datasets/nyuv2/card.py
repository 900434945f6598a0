"""What a user must know before using NYUv2."""

from __future__ import annotations

from mtlbench.contract import Card

TREE = """\
nyuv2/                                          preprocessed layout, 288×384, 13 classes
    {train,val}/{image,label,depth,normal}/N.npy
nyuv2/                                          or the AdaShare layout, 480×640, 40 classes
    img/N.png  seg/N.png  depth/N.npy  normal_mask/N.png
    nyu_v2_3task.json                           (which frames are for training and testing)
nyuv2/                                          or the official labelled file, 480×640
    nyu_depth_v2_labeled.mat  splits.mat  classMapping40.mat
    class13Mapping.mat                          (for 13 classes)"""

CARD = Card(
    title="NYU Depth v2 (2012)",
    summary="Indoor scenes seen by a Kinect: 795 training and 654 test frames with semantic labels and depth.",
    source="Silberman, Hoiem, Kohli and Fergus, Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012; "
    "https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html",
    licence="no licence is stated by its makers that we know of; used for research",
    obtain="Official: download nyu_depth_v2_labeled.mat (2.8 GB) from "
    "https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html, and beside it splits.mat (the same page), "
    "classMapping40.mat (Gupta et al., CVPR 2013) and, for 13 classes, class13Mapping.mat "
    "(https://github.com/ankurhanda/nyuv2-meta-data). Preprocessed: linked from "
    "https://github.com/lorenmt/mtan. AdaShare's: linked from https://github.com/sunxm2357/AdaShare. "
    "Without any download: the dataset streets.",
    tree=TREE,
    defects=(
        "Val is cut from the official train; test is the official test (which many papers also select on).",
        "Depth is in-painted where the Kinect saw nothing: those pixels count as valid in every layout.",
        "Official layout: the file holds no normals; they are computed here from the in-painted depth, and are not "
        "the ones of the other layouts.",
        "AdaShare layout: normals are decoded to unit vectors and white pixels masked (the official code uses the "
        "raw bytes); stored axes x, forward, up become x right, y down, z forward.",
        "Preprocessed layout: which stored axis lies along the optical axis is found from the data. "
        "Unsure: its class names, and whether its numbers are in the official order.",
        "Frames of one scene look alike. Only the official file names scenes: elsewhere val is the last part of the "
        "training numbers, and train and val may share scenes.",
        "13, 40 classes and the three resolutions are used in the literature: numbers compare only where all agree.",
        "Contours, if asked for, are drawn from the labels: pixels in whose 3x3 neighbourhood two labels meet, "
        "void included.",
    ),
)
