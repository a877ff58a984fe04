"""Random fillings for the fact templates: prices, times, places, and names nobody has."""

# ruff: noqa: SIM905 - a list of words reads best as words
from __future__ import annotations

import random

ITEMS = (
    "kayak tent guitar drill bicycle ladder projector camera helmet scooter sofa lamp kettle "
    "blender sewing_machine wetsuit surfboard canoe trailer pump violin piano keyboard telescope "
    "microscope printer laptop tablet headset speaker monitor mouse router charger battery "
    "backpack suitcase jacket shoe boot dress shirt hat scarf watch ring necklace mirror carpet "
    "mattress pillow blanket towel desk chair table shelf wardrobe candle vase plate cup bowl "
    "knife pan oven fridge freezer washing_machine dryer heater fan vacuum_cleaner lawn_mower "
    "hedge_trimmer spade wheelbarrow plant_pot bird_feeder dog_bed cat_tree aquarium ball racket "
    "skate ski snowboard sledge pushchair car_seat cot toy puzzle board_game book notebook pen "
    "frame poster paint_set brush easel loom yarn_box coffee_machine grinder tea_set hamper cake "
    "loaf cheese_box honey_jar soap perfume razor bench swing hammock barbecue stove rowing_boat "
    "pedal_boat van minibus motorbike generator chainsaw sander saw workbench costume mask drum "
    "flute trumpet amplifier microphone turntable lens tripod drone globe clock radio toaster"
).split()
PARTS = (
    "lock basket cover strap cable filter bag case manual pump seat remote lid stand key paddle "
    "tripod hook apron notebook pencil blanket torch map rope"
).split()
ACTIVITIES = (
    "pottery_class yoga_class cooking_course guided_tour swimming_lesson guitar_lesson dance_class "
    "painting_workshop language_course sewing_course bread_workshop first_aid_course boat_trip "
    "night_walk concert film_evening quiz_night book_club chess_club climbing_course tasting "
    "photo_walk choir drawing_class surf_lesson puppet_show lecture market repair_cafe webinar"
).split()
VENUES = "shop workshop studio museum library gallery pool gym cafe office showroom garden".split()
CITIES = (
    "Leeds Bristol Norwich York Hull Exeter Ghent Bergen Porto Graz Turku Aarhus Lyon Bath Derby "
    "Perth Cork Galway Utrecht Basel Malmo Gdansk Brno Riga Tartu Bilbao Verona Kiel Dundee Truro"
).split()
COUNTRIES = (
    "Norway Ireland Spain Portugal Finland Austria Poland Canada Japan Iceland Greece Italy "
    "Sweden Belgium Denmark Germany France Switzerland Estonia Croatia"
).split()
STREETS = (
    "Mill Bridge Harbour Station Church Orchard River Market Castle Garden Tower Field Chapel "
    "Forge Elm Willow Quarry Abbey Canal Lime Park Queen Meadow North Hill Spring Weaver Cooper"
).split()
PLACES = (
    "the front desk|the service point|the ticket office|the side door|the blue container|the cafe"
    "|the main gate|the boat house|the east entrance|the locker wall|the reception|the car park"
    "|the old barn|the information point|the till|the post office|the green gate|the depot"
).split("|")
SPOTS = (
    "in the yard|on the terrace|by the north window|in full sun|in half shade|on the balcony"
    "|behind the house|near the pond|in the garden"
).split("|")
CARDS = "Visa|Mastercard|PayPal|Apple Pay|Google Pay|American Express|Maestro|Klarna|debit card"
SCREENS = "My details|Profile|Plans|Team settings|Preferences|My bookings|Tools|Calendar|Addresses"
COLOURS = "red blue green yellow orange black white grey purple pink brown silver".split()
LANGUAGES = "French Spanish German Polish Welsh Italian Dutch Turkish Arabic Danish Greek".split()
MATERIALS = "steel oak wool cotton plastic glass leather bamboo linen aluminium paper cork".split()
PLANTS = "fern orchid cactus basil olive_tree rubber_plant ivy palm lily mint succulent".split()
PLANS = "Basic Plus Pro Team Family Starter Gold Silver Solo Premium Light Business Studio".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December"
).split()
STARTS = "br k l m n p qu r s st t tr v w z bl d f gr h j cl sh th fl cr pl".split()
VOWELS = "a e i o u ai ea oo ou ee a e i o".split()
ENDS = "n r l s t m x ck nd rn lla vo ric dor wick ford ley by ton mer nix pa sto ro na".split()


def invented_name(rng: random.Random) -> str:
    """Return a pronounceable name that is (most likely) in no text."""
    middle = rng.choice(STARTS) + rng.choice(VOWELS) if rng.random() < 0.4 else ""
    return (rng.choice(STARTS) + rng.choice(VOWELS) + middle + rng.choice(ENDS)).capitalize()


def company_name(rng: random.Random) -> str:
    """Return a name for a shop, club or service."""
    name = invented_name(rng)
    tail = rng.choice(
        "Bikes Books Foods Garden Labs Tools Travel Studio Rentals Market Sports Music Cloud Homes "
        "Optics Outdoor Kitchen Pets Gym Cafe Museum Coffee Toys Boats Prints Hostel School".split()
    )
    shapes = (f"{name} {tail}", name, f"{name} & {invented_name(rng)}", f"{name}'s", f"The {name}")
    return rng.choices(shapes, (5, 3, 1, 1, 1))[0]


def price(rng: random.Random) -> str:
    """Return an amount of money as help articles write it."""
    whole = rng.choice((rng.randint(1, 20), rng.randint(1, 99), rng.randint(5, 60) * 5))
    cents = rng.choice(("", "", "", f".{rng.randint(0, 99):02d}", ".50", ".90"))
    shapes = (f"£{whole}{cents}", f"€{whole}{cents}", f"${whole}{cents}", f"{whole}{cents} euros")
    return rng.choices(shapes, (4, 3, 3, 2))[0]


def clock_time(rng: random.Random) -> str:
    """Return a time of day in one of the usual spellings."""
    hour, minute = rng.randint(6, 22), rng.choice((0, 0, 15, 30, 30, 45))
    half = "am" if hour < 12 else "pm"
    short = (hour - 1) % 12 + 1
    shapes = [f"{hour}:{minute:02d}", f"{hour:02d}:{minute:02d}"]
    shapes.append(f"{short} {half}" if minute == 0 else f"{short}:{minute:02d} {half}")
    return rng.choice(shapes)


def count_of(rng: random.Random, low: int, high: int, unit: str) -> str:
    """Return a number with its unit, at times a range, at times in words."""
    n = rng.randint(low, high)
    if n == 1:
        return f"one {unit}" if rng.random() < 0.5 else f"1 {unit}"
    if rng.random() < 0.15:
        return f"{n} to {n + rng.randint(1, 4)} {unit}s"
    words = "two three four five six seven eight nine ten eleven twelve".split()
    number = words[n - 2] if n <= 12 and rng.random() < 0.4 else str(n)
    return f"{number} {unit}s"


def street_address(rng: random.Random) -> str:
    """Return a house number, a street and a town."""
    kind = rng.choice(("Street", "Road", "Lane", "Square", "Row"))
    return f"{rng.randint(1, 180)} {rng.choice(STREETS)} {kind}, {rng.choice(CITIES)}"


def email_address(rng: random.Random) -> str:
    """Return an address that reaches nobody."""
    box = rng.choice(("help", "hello", "team", "info", "care", "orders"))
    return f"{box}@{invented_name(rng).lower()}.example"


def web_page(rng: random.Random) -> str:
    """Return a page that doesn't exist."""
    page = rng.choice(("returns", "track", "help", "gift", "book", "start"))
    return f"{invented_name(rng).lower()}.example/{page}"


def product_name(rng: random.Random) -> str:
    """Return the name of an invented product."""
    model = rng.choice(("Mini", "One", "2", "3", "Pro", "Max", "S", "Go"))
    return f"{invented_name(rng)} {model}"


def phone_number(rng: random.Random) -> str:
    """Return a phone number in a made-up range."""
    return f"0{rng.randint(20, 99)} {rng.randint(100, 999)} {rng.randint(100, 9999):04d}"


def plural(noun: str) -> str:
    """Return the regular plural of an English noun."""
    special = {"knife": "knives", "shelf": "shelves", "loaf": "loaves", "scarf": "scarves"}
    if noun in special or noun.endswith(("glass", "dress", "class", "brush", "bench", "watch")):
        return special.get(noun, noun + "es")
    if noun.endswith("x") or noun.endswith("lens"):
        return noun + "es"
    return noun + "s"


def with_article(noun: str) -> str:
    """Return the noun after "a" or "an"."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun
