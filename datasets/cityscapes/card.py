"""What a user must know before using Cityscapes."""

from __future__ import annotations

from mtlbench.contract import Card

TREE = """\
cityscapes/                                    official layout
    leftImg8bit/{train,val}/CITY/*_leftImg8bit.png
    gtFine/{train,val}/CITY/*_gtFine_labelIds.png
    disparity/{train,val}/CITY/*_disparity.png
    gtFinePanopticParts/{train,val}/CITY/*_gtFinePanopticParts.tif    (for the task parts)
    leftImg8bit_foggy/val/CITY/*_leftImg8bit_foggy_beta_*.png         (optional: test-foggy-0.005, -0.01, -0.02)
    leftImg8bit_rain/val/CITY/*_leftImg8bit_rain_alpha_*_beta_*_dropsize_*_pattern_*.png  (optional: test-rain-ALPHA)
    rgb_anon/{fog,night,rain,snow}/val/SEQUENCE/*_rgb_anon.png        (optional, ACDC: test-acdc-fog, …)
    gt/{fog,night,rain,snow}/val/SEQUENCE/*_gt_labelIds.png           (with rgb_anon)
cityscapes/                                    or the preprocessed layout, 128×256
    {train,val}/image/N.npy
    {train,val}/label/N.npy                    (or label_7/N.npy, label_19/N.npy)
    {train,val}/depth/N.npy"""

CARD = Card(
    title="Cityscapes (2016)",
    summary="Street scenes of German and Swiss cities: 2,975 training images and 500 test images (the official val), "
    "with fine semantic labels and stereo disparity.",
    source="Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016; "
    "https://www.cityscapes-dataset.com",
    licence="non-commercial research, after registration; not to be passed on; the optional shifted sets have terms of "
    "their own",
    obtain="Register at https://www.cityscapes-dataset.com/login/, download leftImg8bit_trainvaltest.zip, "
    "gtFine_trainvaltest.zip and disparity_trainvaltest.zip, and unpack them into one folder. "
    "Optional, into the same folder: leftImg8bit_trainvaltest_foggy.zip and leftImg8bit_trainval_rain.zip from there, "
    "rgb_anon_trainvaltest.zip and gt_trainval.zip from https://acdc.vision.ee.ethz.ch/download. "
    "Without any download: the datasets streets and multidigits.",
    tree=TREE,
    defects=(
        "The official test labels are not public: test is the official val, and val is cut from the official train.",
        "Disparity comes from stereo matching: noisy, and missing (masked) where nothing matched.",
        "Official depth: inverse depth in 1/m, disparity / (0.209313 · 2262.52) with one camera for all cities; raw "
        "values 0 (missing) and 1 (infinitely far) are masked.",
        "Preprocessed depth: raw disparity/65535, an inverse depth up to scale and offset; raw values 0 and 1 are "
        "masked. Code bases mask differently, and published relative errors depend on those pixels.",
        "Preprocessed layout: files have no names, so val cannot be cut by city: scenes of one city, or even one drive, "
        "are in train and val. Images are stored as fractions and rounded to 8 bits here.",
        "Normals (official layout) are computed here from the resized depth, up to 80 m, with one camera for all.",
        "Parts: 9 parts of people and vehicles and background; of these, pixels whose part is not known are void.",
        "Contours: pixels in whose 3x3 neighbourhood two labels of the classes meet, void included.",
        "What the official evaluation ignores (parking, bridge, caravan, …) is void in the 7 categories too (official).",
        "Shifted test sets (official layout): file names follow their descriptions and code that reads them; read here "
        "from made-up files only. Images and labels of different sizes are refused, and so are unknown label ids.",
        "test-foggy-β: Foggy Cityscapes (Sakaridis et al., IJCV 2018), β in 1/m; test-rain-α: RainCityscapes (Hu et "
        "al., CVPR 2019), several rain patterns a frame. Labels and disparity are those of the clean val frames.",
        "test-acdc-*: val of ACDC (Sakaridis et al., ICCV 2021; other cameras and places), 1080×1920 and thus squeezed "
        "in height at this dataset's usual 1:2. Labelled for segmentation only, so left out where that is not a task; "
        "what its annotators could not see for sure is scored like the rest (gt_invIds is not read).",
    ),
)
