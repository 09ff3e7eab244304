        f"of {first['alerts_per_day']} a day. In brackets: 95% bootstrap intervals, by customer and by day.</p>"
