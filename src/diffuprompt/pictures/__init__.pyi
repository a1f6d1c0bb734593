from .grid import draw_grid as draw_grid
from .painter import (
    CONTROL as CONTROL,
    MODEL as MODEL,
    Painter as Painter,
    PainterConfig as PainterConfig,
    load_pipeline as load_pipeline,
)
from .sheet import draw_views as draw_views, map_of as map_of, png as png, text_of as text_of
from .text_states import check_drawable as check_drawable
from .views import (
    GENERATED as GENERATED,
    OWN as OWN,
    PictureView as PictureView,
    view_pictures as view_pictures,
)
