"""Letters that look like Latin ones; written by `python -m tests.support.lookalikes`."""

SMALL = dict(
    zip(
        "ıƍƽǀɑɡɣɩɪɯʋʏαγινορσυϳагеорсухѕіјѡѵүһҽӏԁԛԝագզհոռսցքօᎠᎡᎢᎥᎩᎪᎫᎬᎳᎷᎻᎽᏀᏂᏃᏏᏒᏔᏕᏙᏚᏞᏟᏢᏦᏧᏳᏴᴄᴏᴑᴜᴠᴡᴢᴦᶃᶌẝỿⲅⲟⲣⲥꓐꓑꓒꓓꓔꓖꓗꓙꓚꓜꓝꓟꓠꓡꓢꓣꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴꙇꜱꞙꞟꬲꬵꬽꭇꭈꭎꭒꭚꭵꮁꮃꮓꮩꮪꮯ",
        "igslagyiiwuyayivopoujareopcyxsijwvyheidqwwqqhnnugfodrtiyajewmhyghzbrwsvslcpkdgbcoouvwzrgyfyropcbpddtgkjczfmnlsrvhwxyaelouisfueforruuyirwzvsc",
        strict=True,
    )
)
CAPITALS = dict(
    zip(
        "ƄƖƦͿΑΒΕΖΗΙΚΜΝΟΡΤΥΧϜϺЅІЈАВЕКМНОРСТУХЬѴҮӀԌԜՍՏՕⲎⲒⲔⲘⲚⲞⲢⲤⲦⲨⲬⳐꞘꞲꞳꞴ",
        "BLRJABEZHIKMNOPTYXFMSIJABEKMHOPCTYXBVYIGWUSOHIKMNOPCTYXLFJXB",
        strict=True,
    )
)
