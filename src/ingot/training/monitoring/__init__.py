"""What a run tells of itself: events, record, boards, pictures and costs."""
