// The lists that UrlFilter has built in: a start that needs no download, not a replacement for UT1 or one's
// own lists. Chosen for precision: a word is here if hardly any honest page has it in its address.
#pragma once

#include <string_view>

namespace tumbler::crawl {

// A page is dropped where one of these is a whole word of its address.
constexpr std::string_view kBannedWords[] = {
    // pornography and escorts
    "porn",
    "porno",
    "pornos",
    "porns",
    "pornstar",
    "pornstars",
    "nsfw",
    "hentai",
    "milf",
    "milfs",
    "gangbang",
    "creampie",
    "cumshot",
    "cumshots",
    "bukkake",
    "blowjob",
    "blowjobs",
    "handjob",
    "handjobs",
    "deepthroat",
    "upskirt",
    "camgirl",
    "camgirls",
    "sexcam",
    "sexcams",
    "webcamsex",
    "livesex",
    "sexchat",
    "sextape",
    "sexvideo",
    "sexvideos",
    "nudes",
    "callgirls",
    "shemale",
    "shemales",
    "futanari",
    "femdom",
    "onlyfans",
    "whores",
    "sluts",
    "pussy",
    "boobs",
    // gambling
    "casino",
    "casinos",
    "jackpots",
    "sportsbook",
    "sportsbooks",
    "togel",
    "judi",
    "sbobet",
    "pokies",
    "1xbet",
    "bet365",
    // what link spam sells
    "viagra",
    "cialis",
    "levitra",
    "kamagra",
    "payday",
    "warez",
    "keygens",
    "replicawatches",
};

// A page is dropped where two different ones of these are words of its address: each alone is innocent often
// enough.
constexpr std::string_view kSoftBannedWords[] = {
    "adult",        "sex",        "sexy",      "xxx",         "nude",      "naked",     "erotic",
    "erotica",      "escort",     "escorts",   "teens",       "babe",      "babes",     "amateurs",
    "busty",        "hardcore",   "softcore",  "stripper",    "strippers", "stripclub", "webcams",
    "cams",         "lingerie",   "dating",    "hookup",      "hookups",   "swingers",  "threesome",
    "orgy",         "horny",      "kinky",     "fetish",      "bdsm",      "anal",      "tits",
    "dildo",        "dildos",     "vibrator",  "betting",     "bets",      "odds",      "bookmaker",
    "bookmakers",   "poker",      "roulette",  "blackjack",   "baccarat",  "slots",     "slot",
    "jackpot",      "lottery",    "bingo",     "spins",       "deposit",   "payouts",   "bonus",
    "loans",        "pills",      "cheap",     "discount",    "coupon",    "coupons",   "pharmacy",
    "prescription", "sildenafil", "tadalafil", "phentermine", "tramadol",  "xanax",     "ambien",
    "replica",      "replicas",   "torrents",  "cracked",     "keygen",    "cheats",    "forex",
};

// A page is dropped where the letters and digits of its address, run together, have one of these anywhere.
constexpr std::string_view kBannedSubwords[] = {
    "pornhub",     "pornvideo",    "pornotube",      "pornstar",      "freeporn",         "xvideos",
    "xhamster",    "redtube",      "youporn",        "xnxx",          "brazzers",         "chaturbate",
    "livejasmin",  "stripchat",    "camsoda",        "bongacams",     "myfreecams",       "onlyfansleak",
    "hentaitube",  "sexvideos",    "sexcams",        "sexchat",       "camsex",           "gangbang",
    "blowjob",     "cumshot",      "creampie",       "deepthroat",    "bigtits",          "bigboobs",
    "nudegirls",   "nakedgirls",   "teensex",        "analsex",       "escortservice",    "escortgirls",
    "callgirlsin", "onlinecasino", "casinoonline",   "casinobonus",   "nodepositbonus",   "freespins",
    "livecasino",  "slotonline",   "onlineslots",    "slotgacor",     "judionline",       "situsjudi",
    "pokeronline", "onlinepoker",  "sportsbetting",  "betonline",     "buyviagra",        "viagraonline",
    "cheapviagra", "buycialis",    "cialisonline",   "genericviagra", "canadianpharmacy", "onlinepharmacy",
    "paydayloan",  "replicawatch", "replicahandbag",
};

}  // namespace tumbler::crawl
